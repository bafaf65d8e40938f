"""The unix socket: who may come in, bytes to requests, answers to bytes. Nothing a peer sends can harm the loop."""

import contextlib
import functools
import os
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

from node_agent.paths import Paths
from node_agent.supervisor import frames
from node_agent.supervisor.loop import Loop, note
from node_agent.supervisor.verbs import Verbs

BACKLOG = 16
UNSENT_LIMIT = 2 * frames.FRAME_LIMIT  # a peer that does not read is let go
_PEER = struct.Struct("3i")


class Server:
    """Listens from `listen` on. The socket file stays when the process ends; the next one replaces it."""

    def __init__(self, loop: Loop, paths: Paths, agent: int | None = None) -> None:
        """`agent` is its uid, when that is not ours."""
        self._loop, self._paths = loop, paths
        self._welcome = {0, os.getuid() if agent is None else agent}
        self._connections: set[_Connection] = set()
        self._verbs: Verbs | None = None
        self._changed: set[str] = set()

    def listen(self, verbs: Verbs) -> None:
        """Raises OSError."""
        self._verbs = verbs
        path = self._paths.supervisor_socket
        path.unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o117)  # 0660 from the first moment on
        try:
            with frames.address(path) as address:
                self._socket.bind(address)
        finally:
            os.umask(before)
        self._socket.listen(BACKLOG)
        self._loop.watch(self._socket.fileno(), self._accept)

    def tell_changed(self, service_id: str) -> None:
        """To every connection, soon: a process of the service changed. Once for all that change meanwhile."""
        if not self._changed:
            self._loop.later(0.0, self._tell)
        self._changed.add(service_id)

    def _tell(self) -> None:
        changed, self._changed = self._changed, set()
        for connection in tuple(self._connections):
            for service_id in changed:
                connection.send({"event": "process", "service_id": service_id})

    def close(self) -> None:
        """Give what was answered a moment to leave, then close."""
        self._socket.close()
        for connection in tuple(self._connections):
            connection.flush_and_close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            peer, _ = self._socket.accept()
            _, uid, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            if uid not in self._welcome or self._verbs is None:
                note("server.refused", uid=uid)
                peer.close()
                return
            peer.setblocking(False)
            self._connections.add(_Connection(peer, self._loop, self._verbs, self._connections))


class _Connection:
    """One peer. Answers to requests that outlive it go nowhere."""

    def __init__(self, peer: socket.socket, loop: Loop, verbs: Verbs, connections: "set[_Connection]") -> None:
        self._peer, self._loop, self._verbs, self._connections = peer, loop, verbs, connections
        self._frames = frames.FrameBuffer()
        self._unsent = bytearray()
        self._waiting = False  # for room to send the rest
        self._open = True
        self.abandoned: dict[int, Callable[[], None]] = {}
        loop.watch(peer.fileno(), self._readable)

    def send(self, frame: Mapping[str, Any]) -> None:
        if not self._open:
            return
        self._unsent += frames.encode_frame(frame)
        if len(self._unsent) > UNSENT_LIMIT:
            note("server.slow_peer", unsent=len(self._unsent))
            self._close()
            return
        self._writable()

    def flush_and_close(self) -> None:
        if self._open:
            self._peer.settimeout(1.0)
            with contextlib.suppress(OSError):
                self._peer.sendall(self._unsent)
            self._close()

    def _readable(self) -> None:
        try:
            data = self._peer.recv(64 << 10)
            asked = self._frames.feed(data)
        except BlockingIOError:
            return
        except (OSError, frames.ProtocolError) as error:
            note("server.bad_peer", error=error)
            self._close()
            return
        self._loop.guarded(functools.partial(self._verbs.expect, asked))
        for frame in asked:
            self._loop.guarded(functools.partial(self._handle, frame))
        if not data:
            self._close()

    def _handle(self, frame: frames.Frame) -> None:
        number, verb = frame.get("id"), frame.get("verb")
        if type(number) is not int or not isinstance(verb, str):
            note("server.bad_peer", error="a request without id or verb")
            self._close()
            return
        self._verbs.handle(verb, frame, _Answer(self, number))

    def _writable(self) -> None:
        try:
            sent = self._peer.send(self._unsent) if self._unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close()
            return
        del self._unsent[:sent]
        if self._waiting is not bool(self._unsent):
            self._waiting = bool(self._unsent)
            self._loop.watch(self._peer.fileno(), self._readable, self._writable if self._unsent else None)

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._loop.unwatch(self._peer.fileno())
            self._peer.close()
            self._connections.discard(self)
            for do in tuple(self.abandoned.values()):
                self._loop.guarded(do)


class _Answer:
    """The answer to one request."""

    def __init__(self, connection: _Connection, number: int) -> None:
        self._connection, self._number = connection, number

    def ok(self, value: Any = None) -> None:
        self._connection.abandoned.pop(self._number, None)
        try:
            self._connection.send({"id": self._number, "ok": value})
        except frames.ProtocolError as error:
            self.refuse(str(error))

    def if_abandoned(self, do: Callable[[], None]) -> None:
        self._connection.abandoned[self._number] = do

    def refuse(self, words: str) -> None:
        self._connection.abandoned.pop(self._number, None)
        self._connection.send({"id": self._number, "error": words})
