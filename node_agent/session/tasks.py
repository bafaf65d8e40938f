"""Several jobs that live and end together."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


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


async def undisturbed(job: Coroutine[Any, Any, Answer]) -> Answer:
    """Run `job` to its end even when the caller is cancelled meanwhile: what is being stored is stored whole."""
    task = asyncio.create_task(job)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
