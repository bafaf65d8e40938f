"""A WSGI application on the loop: no thread for a request, and no change of threads for what it waits for.

Its views must not block: they wait through Core.call, which lets the loop go on meanwhile.
"""

import asyncio
import io
from collections.abc import Callable, Mapping
from typing import Any

import a2wsgi.wsgi

from control_plane.web import waiting
from control_plane.web.pump import Receive, Send, pump


async def respond(
    app: Callable[..., Any],
    scope: Any,
    data: bytes,
    extra: Mapping[str, Any],
    receive: Receive,
    send: Send,
    ending: asyncio.Event,
) -> None:
    """Answer one request whose body is `data`; `extra` goes into the environ. Raises what the application raises."""
    body: Any = io.BytesIO(data)
    environ = {**a2wsgi.wsgi.build_environ(scope, body), **extra}
    head, answer = await waiting.spawn(_run, app, environ)
    if isinstance(answer, bytes):
        await send(head)
        await send({"type": "http.response.body", "body": answer})
        return
    try:
        await send(head)
    except BaseException:  # cancelled, too: nobody else closes what was opened
        await answer.aclose()
        raise
    await pump(answer, receive, send, ending)


def _run(app: Callable[..., Any], environ: Any) -> tuple[dict[str, Any], Any]:
    """The head of the answer, and its whole body or the stream that it is. All of it runs under `spawn`."""
    head: dict[str, Any] = {"type": "http.response.start"}

    def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> None:
        fields = [(name.strip().encode("latin1").lower(), value.strip().encode("latin1")) for name, value in headers]
        head.update(status=int(status.partition(" ")[0]), headers=fields)

    body = app(environ, start_response)
    if hasattr(body, "__aiter__"):
        body.handed_over = True
        return head, body.__aiter__()
    try:
        return head, b"".join(body)
    finally:
        getattr(body, "close", lambda: None)()
