"""What clients get of the disk of an instance."""

from control_plane.api import shapes
from control_plane.domain import disk_use


class UseShape(shapes.Shape):
    """Bytes on the disk, and files and directories (inodes)."""

    bytes: int
    entries: int

    @classmethod
    def of(cls, use: disk_use.Use) -> "UseShape":
        return cls(bytes=use.bytes, entries=use.entries)


class SpaceShape(shapes.Shape):
    """The file system of the data directory now. `reserve_…` is what no build may take. Without a count of inodes: 0."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int
    reserve_bytes: int
    reserve_inodes: int


class ServiceUseShape(shapes.Shape):
    """`parts` are releases, logs, builds (trees and temporary files), caches (of its builds), data (what its processes wrote
    in HOME and /tmp) and volumes, as far as there are any. `name` is null for what is no service of this instance any more.
    """

    id: str
    name: str | None
    deployment_id: str | None
    bytes: int
    entries: int
    parts: dict[str, UseShape]

    @classmethod
    def of(cls, one: disk_use.ServiceUse) -> "ServiceUseShape":
        return cls(
            id=one.service_id,
            name=one.service.name if one.service else None,
            deployment_id=one.service.deployment_id if one.service else None,
            bytes=one.whole.bytes,
            entries=one.whole.entries,
            parts=_parts(one.parts),
        )


class DiskShape(shapes.Shape):
    """`time` is that of `space`; `measured_at` that of the rest, null until it was measured. The largest services first.

    `shared` are toolchains, caches (of packages), mirrors (of git), journal (of the agent), trash (what is being deleted)
    and other (of the daemons).
    """

    instance_id: str
    time: str | None
    space: SpaceShape
    measured_at: str | None
    shared: dict[str, UseShape]
    services: list[ServiceUseShape]

    @classmethod
    def of(cls, found: disk_use.DiskUse) -> "DiskShape":
        return cls(
            instance_id=found.instance_id,
            time=shapes.moment(found.time),
            space=SpaceShape(**found.space),
            measured_at=shapes.moment(found.measured_at),
            shared=_parts(found.shared),
            services=[ServiceUseShape.of(one) for one in found.services],
        )


def _parts(parts: disk_use.Parts) -> dict[str, UseShape]:
    return {name: UseShape.of(use) for name, use in parts.items()}
