"""Work that is not left half-way, although the task that waits for it is cancelled.

A commit goes on in its thread whatever happens to who waits for it. Who is told of the cancellation at that moment takes
the change for not made, and makes it again.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """What `work` returns or raises. A cancellation meanwhile comes back when the task waits next, unless it is over then."""
    running = asyncio.ensure_future(work)
    interrupted = False
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError:
            interrupted = True
    if interrupted and (task := asyncio.current_task()) is not None:
        asyncio.get_running_loop().call_soon(_cancel_again, task)
    return running.result()


def _cancel_again(task: asyncio.Task[Any]) -> None:
    """Who cancelled (a timeout, a group) may have taken it back: its block has ended."""
    if not task.done() and task.cancelling():
        task.uncancel()
        task.cancel()
