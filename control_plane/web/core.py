"""The one way from a view into the asyncio loop. Never waits without an end."""

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from typing import Any, TypeVar

from control_plane import errors
from control_plane.web import waiting

CALL_TIMEOUT_S = 15.0
ENDING_S = 3.0  # for what is cancelled to say whether it is done all the same
SLACK_S = 2.0  # for the loop to come to it at all

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
        done: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            self._loop.call_soon_threadsafe(_begin, bounded, done)
        except RuntimeError as error:  # the loop is closed: the daemon is ending
            _drop(bounded, coro)
            raise errors.UnavailableError("cannot answer: the control plane is stopping; try again soon") from error
        concurrent.futures.wait([done], timeout_s + ENDING_S + SLACK_S)
        if done.cancel():  # the loop did not come to it, and never will
            _drop(bounded, coro)
            raise _busy()
        if not done.done():
            raise _unknown()
        return done.result()


def _begin(bounded: Coroutine[Any, Any, T], done: concurrent.futures.Future[T]) -> None:
    """On the loop: run `bounded`, unless nobody waits any more."""
    if not done.set_running_or_notify_cancel():
        return

    def settle(ended: asyncio.Task[T]) -> None:
        if ended.cancelled():
            done.set_exception(_busy())
        elif (error := ended.exception()) is not None:
            done.set_exception(error)
        else:
            done.set_result(ended.result())

    asyncio.ensure_future(bounded).add_done_callback(settle)


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
        raise _busy() from error


def _busy() -> errors.UnavailableError:
    return errors.UnavailableError("cannot answer in time: the control plane is busy; try again")


def _unknown() -> errors.UnavailableError:
    return errors.UnavailableError("cannot say in time whether it was done: look before you try it again")


def _drop(*coros: Coroutine[Any, Any, Any]) -> None:
    for coro in coros:
        coro.close()
