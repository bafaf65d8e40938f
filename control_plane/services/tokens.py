"""Personal access tokens: made by their user, shown once, kept as digests."""

from control_plane.services.context import Context


class Tokens:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
