"""The one way from a Flask thread into the asyncio loop. Never waits without an end."""

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, TypeVar

from control_plane import errors

CALL_TIMEOUT_S = 15.0
ENDING_S = 3.0  # for what is cancelled to say whether it is done all the same

T = TypeVar("T")


class Core:
    """Runs coroutines on the loop that owns store, hub and services. Called from worker threads only."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call(self, coro: Coroutine[Any, Any, T], timeout_s: float = CALL_TIMEOUT_S) -> T:
        """What `coro` returns or raises; UnavailableError when it takes too long or the loop has ended.

        A coroutine that is too late is cancelled, so that nobody changes anything behind the caller's back. What it
        completes nevertheless, a commit that had begun, is the answer: a change that was made is never called missing.
        """
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            self._loop.call_soon_threadsafe(_begin, coro, timeout_s, done)
        except RuntimeError as error:  # the loop is closed: the daemon is ending
            coro.close()
            raise errors.UnavailableError("cannot answer: the control plane is stopping; try again soon") from error
        concurrent.futures.wait([done], timeout_s + ENDING_S)
        if done.cancel():  # the loop did not come to it, and never will
            coro.close()
        if done.running():
            raise errors.UnavailableError("cannot say in time whether it was done: look before you try it again")
        try:
            return done.result()
        except (TimeoutError, concurrent.futures.CancelledError) as error:
            raise errors.UnavailableError("cannot answer in time: the control plane is busy; try again") from error


def _begin(coro: Coroutine[Any, Any, T], timeout_s: float, done: concurrent.futures.Future[T]) -> None:
    """On the loop: run `coro` for at most `timeout_s`, unless nobody waits any more."""
    if not done.set_running_or_notify_cancel():
        return
    task = asyncio.ensure_future(coro)
    alarm = asyncio.get_running_loop().call_later(timeout_s, task.cancel)

    def settle(ended: asyncio.Task[T]) -> None:
        alarm.cancel()
        if ended.cancelled():
            done.set_exception(TimeoutError())
        elif (error := ended.exception()) is not None:
            done.set_exception(error)
        else:
            done.set_result(ended.result())

    task.add_done_callback(settle)
