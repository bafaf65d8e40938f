"""The environment of a service: variables, secrets, and the history of their changes."""

from control_plane.services.context import Context


class Env:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
