"""What the control plane says of itself."""

from control_plane.api import shapes


class Version(shapes.Shape):
    name: str
    version: str


class Health(shapes.Shape):
    status: str


class Ready(shapes.Shape):
    """`status` is ready or not_ready; the rest says why."""

    status: str
    database: bool
    operator: bool
    hub: bool
    instances_online: int
