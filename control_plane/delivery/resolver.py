"""Names to addresses, as the machine resolves them."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence

from control_plane import errors

LOOKUPS = 64


class SystemResolver:
    """One daemon thread for each lookup: a name server that does not answer holds up neither other names nor the stop.

    The loop's own executor has few threads, and its end waits for all of them.
    """

    def __init__(self) -> None:
        self._under_way = 0

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        if self._under_way >= LOOKUPS:
            raise errors.UnavailableError(
                f"cannot resolve {host}: too many names are being resolved; it is tried again"
            )
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Sequence[str]] = loop.create_future()
        self._under_way += 1

        def look_up() -> None:
            result: Sequence[str] | Exception
            try:
                result = _addresses(host, port)
            except (OSError, UnicodeError) as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop has ended, nobody asks any more
                loop.call_soon_threadsafe(self._finish, found, result)

        threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
        try:
            return await found
        except (OSError, UnicodeError) as error:
            raise errors.UnavailableError(f"cannot resolve {host}: {_words(error)}") from error

    def _finish(self, found: "asyncio.Future[Sequence[str]]", result: Sequence[str] | Exception) -> None:
        self._under_way -= 1
        if found.done():  # cancelled: the attempt ran out of time
            return
        if isinstance(result, Exception):
            found.set_exception(result)
        else:
            found.set_result(result)


def _addresses(host: str, port: int) -> Sequence[str]:
    """In the order of preference of the system, each once."""
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return tuple(dict.fromkeys(str(address[0]) for _family, _type, _proto, _name, address in infos))


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or "not a name"
