"""Several jobs that live and end together."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def until_first(*jobs: Coroutine[Any, Any, Any]) -> None:
    """Run `jobs` until one of them ends, end the others, and raise what any of them raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
