"""The body of an answer that is a stream: from an async generator to the server, until one of three ends it."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Chunks(Protocol):
    """The body of a stream. `aclose` also when nothing was asked of it."""

    async def __anext__(self) -> bytes: ...
    async def aclose(self) -> None: ...


async def pump(stream: Chunks, receive: Receive, send: Send, ending: asyncio.Event) -> None:
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
