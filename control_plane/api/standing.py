"""Whether the one who opened a stream may still read it: a stream outlives the request that was authenticated."""

import dataclasses
from collections.abc import Awaitable, Callable

from control_plane.api import context
from control_plane.domain import values


def of_caller() -> Callable[[], Awaitable[values.Principal]]:
    """What says, on the core loop, who the caller of this request is by now; it raises when that is nobody any more."""
    api, opened = context.current(), context.principal()

    async def again() -> values.Principal:
        found = await api.services.accounts.principal(opened.user_id)
        return dataclasses.replace(opened, operator=opened.operator and found.operator, roles=found.roles)

    return again
