"""Whether a canary may go on: the new release's share of failures beside the former one's. Pure."""

import dataclasses

ENOUGH = 20  # requests to the new release before their share of failures says anything
MARGIN = 0.05  # how much worse it may be, as a share of its requests


@dataclasses.dataclass(frozen=True, slots=True)
class Counts:
    """Requests that were answered, and how many of them with a 5xx or not at all."""

    total: int = 0
    failed: int = 0

    @property
    def share(self) -> float:
        return self.failed / self.total if self.total else 0.0

    def since(self, before: "Counts") -> "Counts":
        return Counts(self.total - before.total, self.failed - before.failed)


def verdict(new: Counts, former: Counts) -> str:
    """Why the canary must stop; empty while it may go on. Few requests say nothing."""
    if new.total < ENOUGH or new.share <= former.share + MARGIN:
        return ""
    return (
        f"{new.failed} of {new.total} requests to the new release failed ({new.share:.0%}), "
        f"of the former one {former.share:.0%}; the former one has them all again"
    )


def weights(percent: int, former: int, new: int) -> tuple[int, int]:
    """The weight of each of `former` and of each of `new` processes, so that the new ones get `percent` together.

    While no former one runs they get all.
    """
    return (100 - percent) * new, percent * max(1, former)
