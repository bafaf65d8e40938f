"""The one way from a Flask thread into the asyncio loop. Never waits without an end."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from control_plane import errors

CALL_TIMEOUT_S = 15.0

T = TypeVar("T")


class Core:
    """Runs coroutines on the loop that owns store, hub and services. Called from worker threads only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, coro: Coroutine[Any, Any, T], timeout_s: float = CALL_TIMEOUT_S) -> T:
        """What `coro` returns or raises; UnavailableError when it takes too long or the loop has ended.

        A coroutine that is too late is cancelled, so that nobody changes anything behind the caller's back.
        """
        try:
            future = asyncio.run_coroutine_threadsafe(coro, self._loop)
        except RuntimeError as error:  # the loop is closed: the daemon is ending
            coro.close()
            raise errors.UnavailableError("cannot answer: the control plane is stopping; try again soon") from error
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise errors.UnavailableError("cannot answer in time: the control plane is busy; try again") from error
