"""The one way from a view into the asyncio loop. Never waits without an end."""

import asyncio
import inspect
from collections.abc import Coroutine
from typing import Any, TypeVar

from control_plane import errors
from control_plane.web import waiting

CALL_TIMEOUT_S = 15.0
ENDING_S = 3.0  # for what is cancelled to say whether it is done all the same
SLACK_S = 2.0

T = TypeVar("T")


class Core:
    """Runs coroutines on the loop that owns store, hub and services: for views on that loop, and for worker threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, coro: Coroutine[Any, Any, T], timeout_s: float = CALL_TIMEOUT_S) -> T:
        """What `coro` returns or raises; UnavailableError when it takes too long or the loop has ended.

        A coroutine that is too late is cancelled, so that nobody changes anything behind the caller's back. What it
        completes nevertheless, a commit that had begun, is the answer: a change that was made is never called missing.
        """
        bounded = _bounded(coro, timeout_s)
        if waiting.can_wait():
            return waiting.wait(bounded)
        try:
            future = asyncio.run_coroutine_threadsafe(bounded, self._loop)
        except RuntimeError as error:  # the loop is closed: the daemon is ending
            _drop(bounded, coro)
            raise errors.UnavailableError("cannot answer: the control plane is stopping; try again soon") from error
        try:
            return future.result(timeout_s + ENDING_S + SLACK_S)
        except TimeoutError as error:  # the loop did not come to it, and never will
            future.cancel()
            _drop(bounded, coro)
            raise _unknown() from error


async def _bounded(coro: Coroutine[Any, Any, T], timeout_s: float) -> T:
    task = asyncio.ensure_future(coro)
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=ENDING_S)
    finally:
        task.cancel()  # of no effect on one that has ended
    if not task.done():
        raise _unknown()
    try:
        return task.result()
    except (TimeoutError, asyncio.CancelledError) as error:
        raise errors.UnavailableError("cannot answer in time: the control plane is busy; try again") from error


def _unknown() -> errors.UnavailableError:
    return errors.UnavailableError("cannot say in time whether it was done: look before you try it again")


def _drop(*coros: Coroutine[Any, Any, Any]) -> None:
    for coro in coros:
        if inspect.getcoroutinestate(coro) == inspect.CORO_CREATED:
            coro.close()
