"""What uses the disk of an instance, as its agent told it in its newest sample. Pure.

A sample is a stranger's data: what is no number counts as 0, and no more than MAX_SERVICES services are read.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from control_plane.domain import values

FAMILY = "disk_use"
MAX_SERVICES, MAX_PARTS, MAX_NAME = 10_000, 50, 100
NUMBERS = ("total_bytes", "free_bytes", "total_inodes", "free_inodes", "reserve_bytes", "reserve_inodes")


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    bytes: int = 0
    entries: int = 0


Parts = Mapping[str, Use]


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceUse:
    """`service` is None for one that is not, or no longer, of this instance."""

    service_id: str
    parts: Parts
    service: values.Service | None = None

    @property
    def whole(self) -> Use:
        found = self.parts.values()
        return Use(sum(one.bytes for one in found), sum(one.entries for one in found))


@dataclasses.dataclass(frozen=True, slots=True)
class DiskUse:
    """`space` holds NUMBERS; `measured_at` is 0 until the parts were measured, which takes a while."""

    instance_id: str
    time: float
    space: Mapping[str, int]
    measured_at: float
    shared: Parts
    services: tuple[ServiceUse, ...]


def of(sample: values.Sample) -> DiskUse | None:
    """None when the agent says nothing of it. The largest services come first."""
    said = _map(sample.families.get(FAMILY))
    if not said:
        return None
    services = [
        ServiceUse(str(service_id)[:MAX_NAME], _parts(parts))
        for service_id, parts in list(_map(said.get("services")).items())[:MAX_SERVICES]
    ]
    return DiskUse(
        instance_id=sample.instance_id,
        time=sample.time,
        space={name: _number(said.get(name)) for name in NUMBERS},
        measured_at=float(_number(said.get("measured_at"))),
        shared=_parts(said.get("shared")),
        services=tuple(sorted(services, key=lambda one: (-one.whole.bytes, one.service_id))),
    )


def _parts(said: Any) -> Parts:
    found = list(_map(said).items())[:MAX_PARTS]
    return {
        str(name)[:MAX_NAME]: Use(_number(_map(use).get("bytes")), _number(_map(use).get("entries")))
        for name, use in found
    }


def _number(value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 1 << 62 else 0


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
