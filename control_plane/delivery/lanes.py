"""Which of the due deliveries begin now. Pure.

Two lanes keep receivers apart. A webhook whose last attempt failed goes in the second lane, so that any number of dead
receivers, each good for a timeout, never takes the places of those that answer. And no webhook takes all of a lane.
"""

import dataclasses
from collections.abc import Collection, Iterable, Sequence

from control_plane.domain import webhook

Due = tuple[webhook.Delivery, webhook.Target]


@dataclasses.dataclass(frozen=True, slots=True)
class Flight:
    """An attempt under way. `doubtful`: in the second lane."""

    webhook_id: str
    subject: str
    doubtful: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    lane: int = 16
    webhook: int = 4

    @property
    def page(self) -> int:
        """How many to ask for at once: more than can be in flight, so that a page always shows something new."""
        return 4 * self.lane


def choose(
    due: Iterable[Due], flights: Collection[Flight], doubtful: Collection[str], limits: Limits
) -> Sequence[tuple[Flight, Due]]:
    """Those of `due` that have a place, with the flights they become. Never two of one (webhook, subject)."""
    flying = list(flights)
    chosen: list[tuple[Flight, Due]] = []
    for delivery, target in due:
        flight = Flight(delivery.webhook_id, delivery.subject, delivery.webhook_id in doubtful)
        if not _is_flying(flight, flying) and _has_place(flight, flying, limits):
            flying.append(flight)
            chosen.append((flight, (delivery, target)))
    return tuple(chosen)


def closed(flights: Collection[Flight], doubtful: Collection[str], limits: Limits) -> frozenset[str]:
    """The webhooks that nothing more can begin for now; asking for others brings those behind a crowd to the front."""
    ids = {flight.webhook_id for flight in flights}
    full = {one for one in ids if sum(flight.webhook_id == one for flight in flights) >= limits.webhook}
    if sum(flight.doubtful for flight in flights) >= limits.lane:
        full |= set(doubtful)
    return frozenset(full)


def _is_flying(flight: Flight, flying: Iterable[Flight]) -> bool:
    return any((flight.webhook_id, flight.subject) == (other.webhook_id, other.subject) for other in flying)


def _has_place(flight: Flight, flying: Sequence[Flight], limits: Limits) -> bool:
    in_lane = sum(other.doubtful == flight.doubtful for other in flying)
    of_webhook = sum(other.webhook_id == flight.webhook_id for other in flying)
    return in_lane < limits.lane and of_webhook < limits.webhook
