"""Bodies that are read by the view: never whole in memory, few at once, bounded, and only for who may send them."""

import contextlib
import dataclasses
import hashlib
import os
import re
import socket
import threading

import flask
import pytest
from werkzeug import exceptions as http_errors

from control_plane import errors
from control_plane.api import errors as api_errors
from control_plane.api import requests
from control_plane.web import bridge
from control_plane.web.uploads import Uploads
from tests import api_fixtures
from tests.waiting import wait_until

BOUNDS = Uploads(routes=(("POST", re.compile(r"/things/[^/]+/source")),), max_bytes=32 << 20)
PIECE = 64 << 10


class Rig:
    """An application with one view that reads a stream, and what it saw."""

    def __init__(self) -> None:
        self.started = 0
        self.read = 0
        self.failed: list[Exception] = []
        app = flask.Flask("uploads")
        app.config["MAX_CONTENT_LENGTH"] = requests.MAX_BODY_BYTES
        api_errors.install(app)
        app.before_request(self._authenticate)
        app.before_request(requests.refuse_unreadable)
        app.add_url_rule("/things/<name>/source", "source", self._source, methods=["POST"])
        app.add_url_rule("/lines/<name>/source", "plain", self._source, methods=["POST"])
        app.add_url_rule("/hello", "hello", lambda: "hello")
        self.app = app

    def _authenticate(self) -> None:
        if flask.request.path.startswith("/things/") and flask.request.headers.get("Authorization") != "Bearer good":
            raise errors.UnauthenticatedError("cannot do this: log in first")

    def _source(self, name):
        self.started += 1
        digest = hashlib.sha256()
        try:
            while piece := flask.request.stream.read(PIECE):
                assert len(piece) <= PIECE
                self.read += len(piece)
                digest.update(piece)
        except Exception as error:
            self.failed.append(error)
            raise
        return {"digest": digest.hexdigest(), "read": self.read}


@pytest.fixture
def loop():
    with api_fixtures.loop_thread() as running:
        yield running


@contextlib.contextmanager
def running(loop, **bounds):
    rig = Rig()
    rig.app.uploads = dataclasses.replace(BOUNDS, **bounds)
    with api_fixtures.serving(loop, rig.app) as port:
        yield rig, port


@contextlib.contextmanager
def upload(port: int, headers: str, body: bytes = b"", token: str = "good", path: str = "/things/a/source"):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{headers}\r\n"
        sock.sendall(head.encode() + body)
        yield sock


def answer_of(sock) -> api_fixtures.Answer:
    response = api_fixtures.http.client.HTTPResponse(sock)
    response.begin()
    with contextlib.closing(response):
        return api_fixtures.Answer(response, response.read())


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def test_the_view_runs_before_the_body_has_come_and_reads_it_whole(loop):
    data = os.urandom(20 << 20)
    with running(loop) as (rig, port), upload(port, f"Content-Length: {len(data)}\r\n") as sock:
        wait_until(lambda: rig.started == 1, what="the view")
        sock.sendall(data[:100_000])
        wait_until(lambda: rig.read == PIECE, what="the first piece")  # asks for more, which has not come
        sock.sendall(data[100_000:])
        answer = answer_of(sock)
        assert (answer.status, answer.json["read"]) == (200, len(data))
        assert answer.json["digest"] == hashlib.sha256(data).hexdigest()


def test_chunks_are_read_whole_too(loop):
    data = os.urandom(3 << 20)
    pieces = [data[start : start + 70_001] for start in range(0, len(data), 70_001)]
    with running(loop) as (_, port), upload(port, "Transfer-Encoding: chunked\r\n") as sock:
        for piece in pieces:
            sock.sendall(chunk(piece))
        sock.sendall(b"0\r\n\r\n")
        assert answer_of(sock).json["digest"] == hashlib.sha256(data).hexdigest()


def test_an_empty_body_is_read_as_empty(loop):
    for headers in ("Content-Length: 0\r\n", ""):
        with running(loop) as (_, port), upload(port, headers) as sock:
            assert answer_of(sock).json["read"] == 0


def test_a_stranger_is_refused_before_the_first_byte(loop):
    with running(loop) as (rig, port), upload(port, "Content-Length: 1000000\r\n", token="bad") as sock:
        assert answer_of(sock).status == 401
        assert rig.read == 0


def test_a_sender_that_asks_first_is_told_to_go_on_by_the_view_that_reads(loop):
    with running(loop) as (_, port):
        with upload(port, "Content-Length: 3\r\nExpect: 100-continue\r\n") as sock:
            assert sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            sock.sendall(b"abc")
            assert answer_of(sock).json["read"] == 3
        with upload(port, "Content-Length: 3\r\nExpect: 100-continue\r\n", token="bad") as sock:
            assert sock.recv(12) == b"HTTP/1.1 401"


def test_a_declared_length_over_the_bound_is_a_413_without_reading(loop):
    with running(loop) as (rig, port), upload(port, f"Content-Length: {(32 << 20) + 1}\r\n") as sock:
        assert answer_of(sock).status == 413
        assert rig.started == 0


def test_chunks_over_the_bound_are_a_413_while_they_are_read(loop):
    with running(loop, max_bytes=100_000) as (rig, port), upload(port, "Transfer-Encoding: chunked\r\n") as sock:
        sock.sendall(chunk(b"x" * 60_000))
        wait_until(lambda: rig.started == 1)
        sock.sendall(chunk(b"x" * 60_000))
        assert answer_of(sock).status == 413
        assert isinstance(rig.failed[0], http_errors.RequestEntityTooLarge)


def test_other_paths_methods_and_spellings_keep_the_ordinary_bound(loop, monkeypatch):
    monkeypatch.setattr(bridge, "DISCARD_S", 0.1)
    big = f"Content-Length: {(1 << 20) + 1}\r\n"
    with running(loop) as (_, port):
        for path in ("/lines/a/source", "/things/a/source/", "/things/a/b/source", "/THINGS/a/source"):
            with upload(port, big, path=path) as sock:
                assert answer_of(sock).status == 413, path


def test_a_sender_that_stands_still_is_a_400(loop):
    with running(loop, idle_s=0.1) as (rig, port), upload(port, "Content-Length: 1000\r\n", b"x") as sock:
        assert answer_of(sock).status == 400
        assert isinstance(rig.failed[0], errors.InvalidError)


def test_a_sender_that_drips_for_ever_ends_at_the_total_deadline(loop):
    with running(loop, total_s=0.0) as (rig, port), upload(port, "Content-Length: 1000\r\n", b"x") as sock:
        assert answer_of(sock).status == 400
        assert isinstance(rig.failed[0], errors.InvalidError)


def test_a_sender_that_goes_ends_the_reading(loop):
    with running(loop) as (rig, port):
        with upload(port, "Content-Length: 1000\r\n", b"x" * 500):
            wait_until(lambda: rig.started == 1)
        wait_until(lambda: rig.failed, what="the end of the reading")
        assert isinstance(rig.failed[0], http_errors.ClientDisconnected)


def test_two_read_at_once_and_the_others_wait_without_a_thread(loop):
    with running(loop) as (rig, port), contextlib.ExitStack() as senders:
        length = "Content-Length: 3\r\n"
        socks = [senders.enter_context(upload(port, length)) for _ in range(8)]
        wait_until(lambda: rig.started == 2, what="two views")
        client = api_fixtures.Client(port)
        for _ in range(bridge.WORKERS * 2):
            assert client.get("/hello").text == "hello"
        assert rig.started == 2
        assert len([found for found in threading.enumerate() if found.name.startswith("WSGI")]) <= bridge.WORKERS
        for sock in socks:
            sock.sendall(b"abc")
        assert [answer_of(sock).status for sock in socks] == [200] * 8


@pytest.mark.parametrize("bounds", [{"wait_s": 0.1}, {"waiting": 0}], ids=["too long", "too many"])
def test_who_waits_too_long_or_behind_too_many_is_told_to_come_again(loop, bounds):
    with running(loop, slots=1, **bounds) as (rig, port), upload(port, "Content-Length: 3\r\n") as first:
        wait_until(lambda: rig.started == 1)
        with upload(port, "Content-Length: 3\r\n") as second:
            answer = answer_of(second)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        first.sendall(b"abc")
        assert answer_of(first).status == 200
        wait_until(lambda: _status(port) == 200, what="the slot, which comes back")


def _status(port: int) -> int:
    with upload(port, "Content-Length: 3\r\n", b"abc") as sock:
        return answer_of(sock).status


def test_the_api_streams_the_source_of_a_deployment_and_nothing_else():
    with api_fixtures.loop_thread() as loop:
        uploads = api_fixtures.ControlPlane(loop, api_fixtures.app.HttpSettings(max_source_bytes=7)).app.uploads
    assert uploads.max_bytes == 7
    assert uploads.takes("POST", "/v1/deployments/my-app/source")
    for method, path in (
        ("PUT", "/v1/deployments/a/source"),
        ("POST", "/v1/deployments"),
        ("POST", "//v1/deployments/a/source"),
    ):
        assert not uploads.takes(method, path)
