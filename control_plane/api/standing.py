"""Whether the one who opened a stream may still read it: a stream outlives the request that was authenticated."""

import dataclasses
from collections.abc import Awaitable, Callable

from control_plane.api import context
from control_plane.domain import values

ASK_AGAIN_S = 2.0


def of_caller() -> Callable[[], Awaitable[values.Principal]]:
    """What says, on the core loop, who the caller of this request is by now; it raises when that is nobody any more."""
    api, opened = context.current(), context.principal()

    async def again() -> values.Principal:
        found = await api.services.accounts.principal(opened.user_id)
        return dataclasses.replace(opened, operator=opened.operator and found.operator, roles=found.roles)

    return again


def to_read_log(service: str) -> Callable[[], Awaitable[None]]:
    """What raises, on the core loop, when the caller may not read the log of `service` any more."""
    api, again = context.current(), of_caller()

    async def check() -> None:
        await api.services.logs.check(await again(), service)

    return check
