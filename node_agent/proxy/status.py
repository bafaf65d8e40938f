"""Asking nginx itself, over its private socket, which generation it serves."""

import asyncio
import contextlib
import pathlib
import socket

REQUEST = b"GET /generation HTTP/1.0\r\nHost: status\r\n\r\n"
LIMIT = 4096
PATIENCE_S = 1.0


async def ask(socket_path: str) -> int | None:
    """The generation; None when nobody answers, or something else does."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            return parse(await _exchange(socket_path))
    except (OSError, TimeoutError):
        return None


def remove_stale(socket_path: str) -> None:
    """Delete the file that a killed nginx left: the next one could not bind. Never one that a process listens on."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(socket_path)
        except ConnectionRefusedError:
            with contextlib.suppress(PermissionError):  # in a place of nginx's own, where the supervisor does it
                pathlib.Path(socket_path).unlink(missing_ok=True)
        except OSError:
            return


def parse(answer: bytes) -> int | None:
    """The number in a whole HTTP answer of status 200."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].split(b" ")
    if not separator or status[:1] not in ([b"HTTP/1.1"], [b"HTTP/1.0"]) or status[1:2] != [b"200"]:
        return None
    number = body.strip()
    return int(number) if number.isdigit() and len(number) < 19 else None


async def _exchange(socket_path: str) -> bytes:
    reader, writer = await asyncio.open_unix_connection(socket_path)
    try:
        writer.write(REQUEST)
        answer = b""
        while len(answer) < LIMIT and (chunk := await reader.read(LIMIT)):
            answer += chunk
        return answer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
