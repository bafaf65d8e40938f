"""What happened: events for followers, and the audit."""

from control_plane.services.context import Context


class History:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
