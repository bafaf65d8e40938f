"""The answers given below Flask: the same envelope, without quota and request id, and the end of the connection.

Few: a request that is not HTTP as we read it, too many connections, and a defect that Flask did not catch.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

Send = Callable[[Any], Awaitable[None]]
RETRY_AFTER_S = 1


def body_of(code: str, message: str) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "details": {}}, "request_id": ""}).encode()


def headers_of(status: int, body: bytes) -> list[tuple[bytes, bytes]]:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    return [*headers, (b"retry-after", str(RETRY_AFTER_S).encode())] if status == 503 else headers


async def answer(send: Send, status: int, code: str, message: str) -> None:
    """The whole response, as ASGI messages."""
    body = body_of(code, message)
    await send({"type": "http.response.start", "status": status, "headers": headers_of(status, body)})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def refuse_crowd(_scope: Any, _receive: Any, send: Send) -> None:
    """The application while there are too many connections."""
    await answer(send, 503, "unavailable", "cannot answer now: too many connections; try again soon")


async def report_defect(send: Send) -> None:
    await answer(send, 500, "internal_error", "cannot answer: an internal error, which is logged")
