"""People of the installation: who there is, made, changed and removed by operators."""

from control_plane.services.context import Context


class Users:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
