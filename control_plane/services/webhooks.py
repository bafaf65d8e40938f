"""Receivers of events, and what was delivered to them."""

from control_plane.services.context import Context


class Webhooks:
    """See the module."""

    def __init__(self, context: Context) -> None:
        self._context = context
