"""What goes in and out of `/v1/services/:id/volumes`."""

import pydantic

from control_plane.api import schemas, shapes
from control_plane.domain import volumes


class VolumePath(schemas.ById):
    name: str = pydantic.Field(max_length=64, description="The name of the volume")


class ServiceVolume(shapes.Shape):
    """`mount` is below the application's working directory, `variable` holds the absolute path there."""

    name: str
    mount: str
    variable: str

    @classmethod
    def of(cls, name: str, mount: str) -> "ServiceVolume":
        return cls(name=name, mount=mount, variable=volumes.variable(name))


class VolumeList(shapes.Shape):
    data: list[ServiceVolume]
    next_cursor: str | None
