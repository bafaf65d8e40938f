"""Synchronous code on the loop that waits without holding it up.

`spawn` runs a function in a greenlet, on the thread of the loop; wherever it calls `wait`, the loop goes on with other work
and comes back with the result. So a view of Flask costs no thread and no change of threads, as long as all it waits for
goes through `wait`. A function that blocks in another way holds the whole loop: such views run in threads (bridge.py).
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar, cast

import greenlet

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


class _Waiting(greenlet.greenlet):  # type: ignore[misc, unused-ignore]
    """One run of a function; what it waits for is awaited by its parent."""


def can_wait() -> bool:
    """Whether the caller runs under `spawn`."""
    return isinstance(greenlet.getcurrent(), _Waiting)


def wait(awaitable: Awaitable[T]) -> T:
    """What `awaitable` gives or raises. RuntimeError when the caller does not run under `spawn`."""
    if not can_wait():
        raise RuntimeError("cannot wait here: only what runs under spawn can")
    return cast("T", greenlet.getcurrent().parent.switch(awaitable))


async def spawn(function: Callable[Arguments, T], *args: Arguments.args, **kwargs: Arguments.kwargs) -> T:
    """What `function` returns or raises; it sees the context variables of this task, and this task sees its own."""
    running = _Waiting(function)
    running.gr_context = greenlet.getcurrent().gr_context
    result: Any = running.switch(*args, **kwargs)
    while not running.dead:
        try:
            value = await result
        except BaseException:  # cancelled too: the function gets to clean up
            result = running.throw(*sys.exc_info())
        else:
            result = running.switch(value)
    return cast("T", result)
