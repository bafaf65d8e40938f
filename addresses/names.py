"""Names to addresses, as the machine resolves them."""

import asyncio
import contextlib
import errno
import socket
import threading

LOOKUPS = 64

Texts = tuple[str, ...]


class Names:
    """One daemon thread for each lookup: a name server that does not answer holds up neither other names nor the stop.

    The loop's own executor has few threads, and its end waits for all of them.
    """

    def __init__(self) -> None:
        self._under_way = 0

    async def resolve(self, host: str, port: int) -> Texts:
        """In the order of preference of the system, each once. Raises OSError, UnicodeError. May be cancelled."""
        if self._under_way >= LOOKUPS:
            raise OSError(errno.EAGAIN, "too many names are being resolved")
        loop = asyncio.get_running_loop()
        found: asyncio.Future[Texts] = loop.create_future()

        def look_up() -> None:
            result: Texts | Exception
            try:
                result = _addresses(host, port)
            except (OSError, UnicodeError) as error:
                result = error
            with contextlib.suppress(RuntimeError):  # the loop has ended, nobody asks any more
                loop.call_soon_threadsafe(self._finish, found, result)

        threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
        self._under_way += 1
        return await found

    def _finish(self, found: "asyncio.Future[Texts]", result: Texts | Exception) -> None:
        self._under_way -= 1
        if found.done():  # cancelled: whoever asked ran out of time
            return
        if isinstance(result, Exception):
            found.set_exception(result)
        else:
            found.set_result(result)


def _addresses(host: str, port: int) -> Texts:
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return tuple(dict.fromkeys(str(address[0]) for _family, _type, _proto, _name, address in infos))
