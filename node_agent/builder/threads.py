"""Blocking work in a thread that ends soon when whoever waits for it is cancelled.

A thread cannot be ended from outside: what may take long calls `check` on its way, once for each entry of a tree.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

_STOPPED: contextvars.ContextVar[threading.Event | None] = contextvars.ContextVar("stopped", default=None)


class InterruptedWorkError(Exception):
    """Nobody waits for this work any more. Never seen outside of its thread."""


async def in_thread(work: Callable[..., Result], *arguments: object) -> Result:
    """Like asyncio.to_thread, but cancelled only after the thread ended: nothing writes on behind our back."""
    stopped = threading.Event()
    token = _STOPPED.set(stopped)
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    _STOPPED.reset(token)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stopped.set()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # seen; the cancellation is what counts
        raise


def check() -> None:
    """Raises InterruptedWorkError when the caller of `in_thread` was cancelled."""
    stopped = _STOPPED.get()
    if stopped is not None and stopped.is_set():
        raise InterruptedWorkError
