"""The body of an answer that is a stream: from an async generator to the server, until one of three ends it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def pump(stream: AsyncGenerator[bytes, None], receive: Receive, send: Send, ending: asyncio.Event) -> None:
    """Sends `stream` until it ends, the client goes or the server stops; then closes it, whatever happened."""
    over = {asyncio.ensure_future(_disconnected(receive)), asyncio.ensure_future(ending.wait())}
    chunk: asyncio.Future[bytes] | None = None
    try:
        while True:
            chunk = asyncio.ensure_future(anext(stream))
            await asyncio.wait({*over, chunk}, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() for task in over):
                break
            await send({"type": "http.response.body", "body": chunk.result(), "more_body": True})
    except StopAsyncIteration:
        pass
    finally:  # cancel first: aclose() of a generator that runs raises
        tasks: list[asyncio.Future[Any]] = [*over] if chunk is None else [*over, chunk]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stream.aclose()
    await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
