"""The right to do what one replica of the control plane does at a time: a lease that ends by itself. Pure.

A row says who holds it and counts the renewals. Nobody compares the clocks of two machines: whoever waits takes it over
when the row has stood still for the length of the lease on its own monotonic clock. The holder begins nothing in the
second half of its time, so what it began has ended before another one may take over.
"""

import dataclasses

LEASE_S = 30.0
RENEW_S = 10.0
NOBODY = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """`beat` grows with each renewal and each change of hands, so no two states of the row are equal."""

    name: str
    holder: str = NOBODY
    beat: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Sight:
    """What the row was at the last look, and since when it has been seen like that (monotonic)."""

    lease: Lease
    since: float


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    lease_s: float = LEASE_S
    renew_s: float = RENEW_S

    @property
    def usable_s(self) -> float:
        """How long after a renewal something may be begun."""
        return self.lease_s / 2


def sight(stored: Lease, before: Sight | None, now: float) -> Sight:
    return before if before is not None and before.lease == stored else Sight(stored, now)


def claim(seen: Sight, me: str, now: float, terms: Terms) -> Lease | None:
    """What `me` may make of the row now; None while another one holds it."""
    held = seen.lease
    if held.holder in {NOBODY, me} or now - seen.since >= terms.lease_s:
        return Lease(held.name, me, held.beat + 1)
    return None
