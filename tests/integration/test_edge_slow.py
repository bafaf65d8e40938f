"""Slow clients: each is ended after its deadline, and two hundred of them at once leave everybody else answered."""

import asyncio
import contextlib
import socket
import threading

import flask
import pytest

from control_plane.api import streams
from control_plane.web import bridge, server
from tests import api_fixtures
from tests.waiting import wait_until

BIG = 12 << 20


@pytest.fixture
def protocols(monkeypatch):
    """Every connection that the server accepted."""
    made = []
    original = server.BoundedProtocol.connection_made

    def remember(self, transport):
        made.append(self)
        original(self, transport)

    monkeypatch.setattr(server.BoundedProtocol, "connection_made", remember)
    return made


def is_over(protocol) -> bool:
    return protocol not in protocol.connections


@pytest.fixture
def loop():
    with api_fixtures.loop_thread() as running:
        yield running


class Flood:
    """A stream without end."""

    def __init__(self) -> None:
        self.opened = 0
        self.closed = 0

    async def chunks(self):
        self.opened += 1
        try:
            while True:
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            self.closed += 1


@pytest.fixture
def flood():
    return Flood()


@pytest.fixture
def client(loop, flood, protocols):
    app = flask.Flask("slow")
    app.add_url_rule("/hello", "hello", lambda: "hello")
    app.add_url_rule("/big", "big", lambda: flask.Response(b"x" * BIG))
    app.add_url_rule("/echo", "echo", lambda: flask.Response(flask.request.get_data()), methods=["POST"])
    app.add_url_rule("/flood", "flood", lambda: streams.respond(flood.chunks(), loop.core.call, "text/plain"))
    with api_fixtures.serving(loop, app) as port:
        yield api_fixtures.Client(port)


@contextlib.contextmanager
def slow(port: int, data: bytes):
    """A client that takes next to nothing, and has sent `data`."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        sock.sendall(data)
        yield sock


HEADS = {
    "nothing": b"",
    "half a request line": b"GET /hel",
    "headers without end": b"GET /hello HTTP/1.1\r\nHost: x\r\nX-A: b\r\n",
    "a body that does not come": b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
    "chunks that do not come": b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
    "a stream that is not read": b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n",
    "an answer that is not read": b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(server.BoundedProtocol, "header_timeout_s", 0.3)
    monkeypatch.setattr(server.BoundedProtocol, "stall_timeout_s", 0.3)
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(bridge.Bridge, "body_timeout_s", 0.3)


@pytest.mark.parametrize("data", HEADS.values(), ids=HEADS.keys())
def test_a_slow_client_is_ended_at_its_deadline(impatient, client, protocols, flood, data):
    with slow(client.port, data):
        wait_until(
            lambda: protocols and all(is_over(protocol) for protocol in protocols), what="the server's hanging up"
        )
    assert flood.opened == flood.closed
    assert client.get("/hello").text == "hello"


def test_the_deadlines_are_short():
    assert server.HEADER_TIMEOUT_S <= 15
    assert server.STALL_TIMEOUT_S <= 15
    assert bridge.BODY_TIMEOUT_S <= 15


def test_two_hundred_slow_clients_leave_ordinary_requests_answered(client, protocols, flood):
    kinds = list(HEADS.values())
    with contextlib.ExitStack() as crowd:
        for number in range(200):
            crowd.enter_context(slow(client.port, kinds[number % 5]))  # without the floods
        for _ in range(10):
            crowd.enter_context(slow(client.port, HEADS["a stream that is not read"]))
        wait_until(lambda: len(protocols) == 210 and flood.opened == 10, what="all clients")
        for _ in range(50):
            assert client.get("/hello").text == "hello"
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("WSGI")]
        assert len(threads) <= bridge.WORKERS
        assert sum(not is_over(protocol) for protocol in protocols) <= 211
    wait_until(lambda: flood.closed == 10)
    wait_until(lambda: all(is_over(protocol) for protocol in protocols), what="the end of all connections")


def test_a_reader_that_is_slow_but_reads_keeps_its_stream(monkeypatch, client, protocols):
    monkeypatch.setattr(server.BoundedProtocol, "stall_timeout_s", 0.5)
    with slow(client.port, HEADS["a stream that is not read"]) as sock:
        taken = 0
        while taken < 8 << 20:
            taken += len(sock.recv(1 << 20))
        assert not is_over(protocols[0])


def test_too_many_connections_are_told_so_and_those_beyond_are_cut(monkeypatch, client, protocols):
    monkeypatch.setattr(server.BoundedProtocol, "max_connections", 3)
    monkeypatch.setattr(server, "SPARE_CONNECTIONS", 1)
    with contextlib.ExitStack() as crowd:
        for number in range(1, 4):
            crowd.enter_context(slow(client.port, b""))
            wait_until(lambda number=number: len(protocols) == number)
        told = client.get("/hello")
        assert (told.status, told.json["error"]["code"], told.headers["retry-after"]) == (503, "unavailable", "1")
        assert told.headers["connection"] == "close"
        wait_until(lambda: is_over(protocols[3]))
        crowd.enter_context(slow(client.port, b""))
        wait_until(lambda: len(protocols) == 5)
        with (
            slow(client.port, b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n") as cut,
            contextlib.suppress(ConnectionResetError),
        ):
            assert cut.recv(100) == b""
    wait_until(lambda: all(is_over(protocol) for protocol in protocols))
    assert client.get("/hello").text == "hello"


def test_bodies_that_do_not_fit_into_memory_together_are_refused(monkeypatch, loop):
    monkeypatch.setattr(bridge.Bridge, "max_bodies_bytes", 1000)
    app = flask.Flask("full")
    app.add_url_rule("/flags", "flags", lambda: str(flask.request.environ.get(bridge.BUSY)), methods=["POST"])
    with api_fixtures.serving(loop, app) as port:
        client = api_fixtures.Client(port)
        assert client.post("/flags", b"x" * 1000).text == "None"
        assert client.post("/flags", b"x" * 1001).text == "True"
        wait_until(lambda: client.post("/flags", b"x" * 1000).text == "None", what="the room that was given back")


def test_the_application_says_busy_when_there_is_no_room_for_a_body(monkeypatch):
    monkeypatch.setattr(bridge.Bridge, "max_bodies_bytes", 1000)
    with api_fixtures.control_plane() as (_, client):
        answer = client.request("POST", "/v1/deployments", b"x" * 1001, {"Content-Type": "application/json"})
        assert (answer.status, answer.json["error"]["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["x-ratelimit-remaining"] == "999"


def test_a_late_body_is_told_so_and_its_connection_ends(monkeypatch):
    monkeypatch.setattr(bridge.Bridge, "body_timeout_s", 0.1)
    with api_fixtures.control_plane() as (plane, client):
        head = f"POST /v1/deployments HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {plane.token()}\r\n"
        answer = api_fixtures.raw_answer(client.port, head.encode() + b"Content-Length: 10\r\n\r\n{")
        assert (answer.status, answer.headers["connection"]) == (400, "close")
        assert "did not arrive in time" in answer.json["error"]["message"]


def test_a_defect_that_flask_does_not_catch_has_the_envelope_too(loop):
    def broken(_environ, _start_response):
        raise RuntimeError("the secret detail")

    with api_fixtures.serving(loop, broken) as port:
        answer = api_fixtures.Client(port).get("/")
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal_error")
    assert b"secret" not in answer.body
