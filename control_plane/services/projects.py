"""Projects and their members."""

from control_plane.services.context import Context


class Projects:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
