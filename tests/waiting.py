"""Waiting for a fact, never for a time: the one way in which tests synchronise with real processes."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any


def wait_until(
    condition: Callable[[], Any], timeout: float = 20.0, what: str = "the condition", pause_s: float = 0.02
) -> Any:
    """The first true value of `condition`, asked every `pause_s`; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(pause_s)


async def wait_until_async(
    condition: Callable[[], Any | Awaitable[Any]], timeout: float = 20.0, what: str = "the condition"
) -> Any:
    """The same on a running loop; `condition` may be a coroutine function."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        await asyncio.sleep(0.02)
