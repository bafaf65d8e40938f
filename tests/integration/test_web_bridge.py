"""The bridge and the embedded server over real sockets: what we rely on in a2wsgi and uvicorn."""

import asyncio
import contextlib
import socket
import threading

import flask
import pytest

from control_plane import errors
from control_plane.api import streams
from control_plane.web import bridge, server
from tests import api_fixtures
from tests.waiting import wait_until


class Source:
    """A stream that the test feeds and watches."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.opened = 0
        self.closed = 0
        self.produced = 0

    async def lines(self):
        self.opened += 1
        try:
            while True:
                item = await self.queue.get()
                if item is None:
                    return
                yield item
        finally:
            self.closed += 1

    async def flood(self):
        self.opened += 1
        try:
            while True:
                self.produced += 1
                yield b"x" * 65536
                await asyncio.sleep(0)
        finally:
            self.closed += 1

    async def broken(self):
        yield b"one\n"
        raise RuntimeError("the source broke")


@pytest.fixture
def loop():
    with api_fixtures.loop_thread() as running:
        yield running


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def app(loop, source):
    app = flask.Flask("bridge")
    app.config["MAX_CONTENT_LENGTH"] = bridge.MAX_BODY_BYTES
    stream = lambda chunks: streams.respond(chunks, loop.core.call, "text/plain")  # noqa: E731
    app.add_url_rule("/follow", "follow", lambda: stream(source.lines()))
    app.add_url_rule("/flood", "flood", lambda: stream(source.flood()))
    app.add_url_rule("/broken", "broken", lambda: stream(source.broken()))
    app.add_url_rule("/hello", "hello", lambda: "hello")
    app.add_url_rule("/echo", "echo", lambda: flask.Response(flask.request.get_data()), methods=["POST"])
    app.add_url_rule("/late", "late", lambda: str(flask.request.environ.get(bridge.LATE_BODY)), methods=["POST"])
    app.add_url_rule("/raise", "raise", _raise)
    return app


def _raise():
    raise RuntimeError("a view broke")


@pytest.fixture
def client(loop, app):
    with api_fixtures.serving(loop, app) as port:
        yield api_fixtures.Client(port)


@contextlib.contextmanager
def raw(port: int, data: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        yield sock


def test_chunks_arrive_as_they_are_produced_and_the_body_ends_with_the_stream(loop, source, client):
    with contextlib.closing(client.open("GET", "/follow")) as connection:
        response = connection.getresponse()
        loop.loop.call_soon_threadsafe(source.queue.put_nowait, b"one\n")
        assert response.readline() == b"one\n"
        loop.loop.call_soon_threadsafe(source.queue.put_nowait, b"two\n")
        assert response.readline() == b"two\n"
        loop.loop.call_soon_threadsafe(source.queue.put_nowait, None)
        assert response.read() == b""
    assert (source.opened, source.closed) == (1, 1)


def test_the_headers_of_a_stream_arrive_before_its_first_chunk(source, client):
    with contextlib.closing(client.open("GET", "/follow")) as connection:
        response = connection.getresponse()
        assert response.getheader("Cache-Control") == "no-store"
        assert response.getheader("X-Accel-Buffering") == "no"
    wait_until(lambda: source.closed == 1)


def test_a_client_that_leaves_closes_the_generator(source, client):
    with contextlib.closing(client.open("GET", "/follow")) as connection:
        connection.getresponse()
        wait_until(lambda: source.opened == 1)
    wait_until(lambda: source.closed == 1)


def test_head_of_a_stream_has_headers_and_no_open_stream(source, client):
    answer = client.request("HEAD", "/follow")
    assert answer.status == 200
    assert answer.headers["x-accel-buffering"] == "no"
    assert source.opened == source.closed


def test_an_error_in_a_stream_cuts_the_body_so_that_the_client_notices(client, caplog):
    with contextlib.closing(client.open("GET", "/broken")) as connection:
        response = connection.getresponse()
        with pytest.raises(Exception, match=r"IncompleteRead|0 bytes read"):
            response.read()
    assert client.get("/hello").text == "hello"


def test_an_error_in_a_view_is_a_500_and_the_next_request_works(client):
    assert client.get("/raise").status == 500
    assert client.get("/hello").text == "hello"


def test_a_slow_reader_holds_the_source_back(source, client):
    with contextlib.closing(client.open("GET", "/flood")) as connection:
        response = connection.getresponse()
        response.read(1)
        counts = []

        def stands_still():
            counts.append(source.produced)
            return len(counts) > 20 and len(set(counts[-20:])) == 1

        wait_until(stands_still)
        assert client.get("/hello").text == "hello"
        assert source.produced * 65536 < 64 << 20
    wait_until(lambda: source.closed == 1)


def test_fifty_followers_do_not_block_ordinary_requests(source, client):
    with contextlib.ExitStack() as followers:
        for _ in range(50):
            connection = followers.enter_context(contextlib.closing(client.open("GET", "/follow")))
            connection.getresponse()
        wait_until(lambda: source.opened == 50)
        threads = [thread for thread in threading.enumerate() if thread.name.startswith("WSGI")]
        assert len(threads) <= bridge.WORKERS
        for _ in range(20):
            assert client.get("/hello").text == "hello"
    wait_until(lambda: source.closed == 50)


def test_the_server_ends_its_followers_when_it_stops(loop, app, source):
    with api_fixtures.serving(loop, app) as port:
        connection = api_fixtures.Client(port).open("GET", "/follow")
        response = connection.getresponse()
    assert response.read() == b""  # a whole body, not a cut one
    connection.close()
    assert source.closed == 1


def test_flasks_test_client_iterates_a_stream(loop, app, source):
    for item in (b"one\n", b"two\n", None):
        loop.loop.call_soon_threadsafe(source.queue.put_nowait, item)
    with app.test_client() as plain:
        assert plain.get("/follow").data == b"one\ntwo\n"
    assert source.closed == 1


def test_a_chunked_body_reaches_the_view_whole(client):
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw(client.port, head + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") as sock:
        assert _all(sock).endswith(b"hello world")


def test_a_body_that_is_too_long_is_413_whether_its_length_is_declared_or_not(client):
    assert client.post("/echo", b"x" * (bridge.MAX_BODY_BYTES + 1)).status == 413
    assert client.post("/echo", b"x" * bridge.MAX_BODY_BYTES).status == 200
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with raw(client.port, head) as sock:
        with contextlib.suppress(OSError):
            for _ in range(20):
                sock.sendall(piece)
        assert b" 413 " in sock.recv(200)


def test_a_body_that_does_not_arrive_takes_no_thread_and_is_marked_late(loop, app):
    async def receive():
        await asyncio.Event().wait()

    sent = []

    async def send(message):
        sent.append(message)

    async def run():
        adapter = bridge.Bridge(app, workers=1)
        adapter.body_timeout_s = 0.05
        scope = {
            "type": "http", "method": "POST", "path": "/late", "query_string": b"", "http_version": "1.1",
            "headers": [(b"content-length", b"10")],
        }  # fmt: skip
        await adapter(scope, receive, send)
        adapter.executor.shutdown()

    loop.run(run())
    assert sent[1]["body"] == b"True"


def test_a_connection_that_never_sends_whole_headers_is_closed(client, monkeypatch):
    monkeypatch.setattr(server.BoundedProtocol, "header_timeout_s", 0.2)
    for start in (b"", b"GET /hello HT", b"GET /hello HTTP/1.1\r\nHost: x\r\nX-A: b\r\n"):
        with raw(client.port, start) as sock:
            assert sock.recv(100) == b""


def test_a_stream_outlives_the_header_deadline(loop, source, client, monkeypatch):
    monkeypatch.setattr(server.BoundedProtocol, "header_timeout_s", 0.1)
    with contextlib.closing(client.open("GET", "/follow")) as connection:
        response = connection.getresponse()
        with raw(client.port, b"") as other:
            assert other.recv(1) == b""  # the deadline has passed
        loop.loop.call_soon_threadsafe(source.queue.put_nowait, b"one\n")
        assert response.readline() == b"one\n"


def test_a_taken_port_is_an_error_that_names_the_address(client):
    with pytest.raises(errors.InvalidError, match=f"127.0.0.1:{client.port}"):
        server.listen("127.0.0.1", client.port)


def test_a_call_that_takes_too_long_is_unavailable_and_cancelled(loop):
    cancelled = threading.Event()

    async def slow():
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with pytest.raises(errors.UnavailableError):
        loop.core.call(slow(), 0.05)
    assert cancelled.wait(10)


def _all(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data
