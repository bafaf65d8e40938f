"""The embedded HTTP server: uvicorn inside our loop, without its signal handling, bounded where it is not.

Called by wiring. Never exits the process: a port that is taken is an error with its name.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from control_plane import errors
from control_plane.web import below, bridge, strict

HEADER_TIMEOUT_S = 15.0  # from the first moment of waiting for a request to the end of its headers
KEEP_ALIVE_S = 10
GRACE_S = 5
STALL_TIMEOUT_S = 15.0  # for a reader that takes nothing of what was sent to it
MAX_CONNECTIONS = 2000
SPARE_CONNECTIONS = 200  # more are told that there are too many; those beyond are cut
MAX_HEADER_BYTES = 32 << 10


async def serve(
    app: Any,
    host: str,
    port: int,
    stop: asyncio.Event,
    on_listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serves the WSGI `app` until `stop` is set, then ends followers, waits a little and returns.

    `on_listening` gets the real port (of use with port 0) as soon as connections are accepted. The attribute `uploads`
    of the app, if there is one, says which of its paths read their body themselves; its attribute `never_blocks` that all
    other views may run on the loop.
    """
    listener = listen(host, port)
    in_threads = not getattr(app, "never_blocks", False)
    adapter = bridge.Bridge(app, uploads=getattr(app, "uploads", None), in_threads=in_threads)
    server = _Server(_config(adapter))
    running = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    stopping = asyncio.create_task(stop.wait(), name="http-stop")
    on_listening(listener.getsockname()[1])  # it listens already; uvicorn accepts within this turn of the loop
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        adapter.end_streams()
        server.should_exit = True
        await asyncio.shield(running)
        await asyncio.to_thread(adapter.executor.shutdown)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; InvalidError that names the address when it cannot be had."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise errors.InvalidError(f"cannot listen on {host}:{port}: {error}; choose another address") from error
    listener.setblocking(False)
    # Inherited by every connection. asyncio leaves it out for a socket of ours, and head and body are two packets: the
    # second would wait 40 ms for the acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _config(adapter: bridge.Bridge) -> uvicorn.Config:
    return uvicorn.Config(
        adapter,
        http=BoundedProtocol,
        ws="none",
        loop="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override, unused-ignore]
        """The daemon handles signals; uvicorn would take them over and raise them again at the end."""
        yield


class BoundedProtocol(H11Protocol):
    """uvicorn waits for ever for a request, for slow headers and for a reader that does not read: here all have an end.

    What it answers itself is our envelope (below.py), and what could be read in two ways is refused (strict.py).
    """

    header_timeout_s = HEADER_TIMEOUT_S
    stall_timeout_s = STALL_TIMEOUT_S
    max_connections = MAX_CONNECTIONS
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.conn = strict.StrictConnection(MAX_HEADER_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._drop_what_nobody_reads(transport)
        if len(self.connections) > self.max_connections + SPARE_CONNECTIONS:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        crowded = len(self.connections) > self.max_connections
        self.app = below.refuse_crowd if crowded else self.config.loaded_app
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        self._unstall()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.stall_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        self._unstall()
        super().resume_writing()

    def send_400_response(self, _msg: str) -> None:
        """For a request that cannot be read; in the middle of an answer the connection ends without another."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            body = below.body_of("invalid_request", "cannot read the request: it is not well-formed HTTP/1.1")
            headers = below.headers_of(400, body)
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _drop_what_nobody_reads(self, transport: asyncio.Transport) -> None:
        """The kernel ends a connection whose other side takes nothing, also one that is being closed."""
        with contextlib.suppress(AttributeError, OSError):  # not a socket of TCP
            wait_ms = int(self.stall_timeout_s * 1000)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, wait_ms)

    def _unstall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _watch(self) -> None:
        if not self._is_waiting():
            self._unwatch()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self.header_timeout_s, self._give_up)

    def _unwatch(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _is_waiting(self) -> bool:
        """No request is being answered: its headers are not whole, or the rest of a refused body still arrives."""
        return self.conn.their_state is h11.IDLE or (self.cycle is not None and self.cycle.response_complete)

    def _give_up(self) -> None:
        self._deadline = None
        if self._is_waiting() and not self.transport.is_closing():
            self.transport.close()
