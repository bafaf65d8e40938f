"""Push-to-deploy: the addresses that git hosts call."""

from control_plane.services.context import Context


class Hooks:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
