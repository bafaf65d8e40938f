"""How the HTTP library reaches the network: by the addresses that were checked, and for so many octets of answer."""

import contextlib
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2

from addresses.public import Address

CONNECT_S = 3.0  # to one address, while others are left
MAX_DIALLED = 4
MAX_READ = 128 * 1024  # headers, interim answers and the beginning of the body; nothing honest needs as much
PIECE = 16 * 1024


class Dialler(httpcore2.AsyncNetworkBackend):
    """Connects to the checked addresses only, whatever host it is asked for. The host stays what TLS verifies."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self._addresses = addresses[:MAX_DIALLED]
        self._network = httpcore2.AnyIOBackend()
        self._stream: httpcore2.AsyncNetworkStream | None = None

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 — on purpose: what is dialled was resolved and checked before
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._stream = await self._dial(port, timeout, local_address, socket_options)
        return Bounded(self._stream)

    async def aclose(self) -> None:
        """The pool closes what it got to use; a connection that is cancelled in its handshake it forgets."""
        if self._stream is not None:
            await self._stream.aclose()

    async def _dial(
        self,
        port: int,
        timeout: float | None,
        local_address: str | None,
        options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        *others, last = self._addresses
        for address in others:
            with contextlib.suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return await self._network.connect_tcp(str(address), port, CONNECT_S, local_address, options)
        return await self._network.connect_tcp(str(last), port, timeout, local_address, options)


class Bounded(httpcore2.AsyncNetworkStream):
    """A stream that breaks off after MAX_READ: a flood of interim answers would keep the loop busy till the timeout."""

    def __init__(self, stream: httpcore2.AsyncNetworkStream) -> None:
        self._stream = stream
        self._left = MAX_READ

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._left <= 0:
            raise httpcore2.ReadError("the answer is too long")
        data = await self._stream.read(min(max_bytes, PIECE), timeout)
        self._left -= len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return Bounded(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
