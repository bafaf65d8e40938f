"""From two looks to what happened between them. Pure. A counter that went back was begun anew: it never counts below 0."""

from collections.abc import Hashable, Mapping
from typing import TypeVar

from node_agent.metrics.reading import DiskIo, Host, Rates

Member = TypeVar("Member", bound=Hashable)


def rates(before: Host, after: Host, seconds: float) -> Rates:
    return Rates(
        cpu=shares(before.cpu, after.cpu),
        disk_read_bytes=_disk(before.disk_io, after.disk_io, "read_bytes", seconds),
        disk_written_bytes=_disk(before.disk_io, after.disk_io, "written_bytes", seconds),
        received_bytes=_network(before, after, "received_bytes", seconds),
        sent_bytes=_network(before, after, "sent_bytes", seconds),
    )


def shares(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Percent of each mode in what was spent between the two; empty when nothing was."""
    spent = {mode: max(0.0, value - before.get(mode, 0.0)) for mode, value in after.items()}
    total = sum(spent.values())
    return {mode: 100.0 * value / total for mode, value in spent.items()} if total else {}


def per_second(before: float, after: float, seconds: float) -> float:
    return max(0.0, after - before) / seconds if seconds > 0 else 0.0


def spent(before: Mapping[Member, float], after: Mapping[Member, float]) -> float:
    """What the members of `after` used since `before`; a new member counts whole, one that is gone not at all."""
    return sum(max(0.0, value - before.get(member, 0.0)) for member, value in after.items())


def _disk(before: DiskIo | None, after: DiskIo | None, field: str, seconds: float) -> float:
    if before is None or after is None:
        return 0.0
    return per_second(getattr(before, field), getattr(after, field), seconds)


def _network(before: Host, after: Host, field: str, seconds: float) -> dict[str, float]:
    """An interface that was not there before has no rate yet."""
    known = {interface.name: getattr(interface, field) for interface in before.network}
    return {
        interface.name: per_second(known.get(interface.name, value := getattr(interface, field)), value, seconds)
        for interface in after.network
    }
