"""What is open while the requests go over to a new release: it goes on with the former one until it ends, or its time does."""

import base64
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import socket
from collections.abc import Iterator

import pytest

from tests.e2e.platform import Platform
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(150)
ACCEPT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # of RFC 6455
TEXT, CLOSE, LAST, MASKED = 0x1, 0x8, 0x80, 0x80
APP = f"""
import base64, hashlib, http.server, os, pathlib, time

words = open("words").read().strip().encode()
home = pathlib.Path(os.environ["HOME"])

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket":
            return self.talk()
        if self.path == "/long":
            (home / "begun").touch()
            while not (home / "finish").exists():
                time.sleep(0.01)
        self.send_response(200)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def talk(self):
        key = self.headers["Sec-WebSocket-Key"] + "{ACCEPT}"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while (head := self.rfile.read(6)) and head[0] != {LAST | CLOSE}:
            said = self.rfile.read(head[1] & 127)
            said = words + b": " + bytes(byte ^ head[2 + at % 4] for at, byte in enumerate(said))
            self.wfile.write(bytes(({LAST | TEXT}, len(said))) + said)

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
PYTHON = {"runtime": "python", "build_cmd": "true", "run_cmd": "python app.py"}


class WebSocket:
    """A client of RFC 6455, as far as it takes to say short texts to the app behind `domain`."""

    def __init__(self, platform: Platform, domain: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", platform.proxy), timeout=90)
        self._file = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            *("GET /talk HTTP/1.1", f"Host: {domain}", "Upgrade: websocket", "Connection: Upgrade"),
            *("Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}", "", ""),
        )
        self._socket.sendall("\r\n".join(lines).encode())
        assert b" 101 " in self._file.readline()
        headers = dict(line.decode().lower().strip().split(": ", 1) for line in iter(self._file.readline, b"\r\n"))
        accepted = base64.b64encode(hashlib.sha1((key + ACCEPT).encode()).digest()).decode()
        assert headers["sec-websocket-accept"] == accepted.lower()

    def ask(self, text: str) -> str:
        mask, said = os.urandom(4), text.encode()
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(said))
        self._socket.sendall(bytes((LAST | TEXT, MASKED | len(said))) + mask + masked)
        head = self._file.read(2)
        return self._file.read(head[1]).decode()

    def is_ended(self) -> bool:
        """Waits for whatever comes next: whether that is the end."""
        return self._file.read(1) == b""

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def home_of(platform: Platform, name: str) -> pathlib.Path:
    """As the app sees it."""
    environ = pathlib.Path(f"/proc/{platform.pids(name)[0]}/environ").read_bytes().split(b"\0")
    return pathlib.Path(next(word[5:].decode() for word in environ if word.startswith(b"HOME=")))


@contextlib.contextmanager
def talking(platform: Platform, domain: str) -> Iterator[WebSocket]:
    with contextlib.closing(WebSocket(platform, domain)) as found:
        yield found


def state(platform: Platform, name: str, release: int) -> str:
    return platform.call("GET", f"/v1/deployments/{name}/releases/{release}")["state"]


def test_a_websocket_and_a_long_request_stay_with_their_release_and_new_ones_go_to_the_next(
    platform: Platform, repository
) -> None:
    repository.commit(app__py=APP, words="one")
    _, domain = platform.live("talks-on", repository, **PYTHON)
    (pid,), home = platform.pids("talks-on"), home_of(platform, "talks-on")
    with talking(platform, domain) as former, concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert former.ask("hello") == "one: hello"
        long = pool.submit(platform.get, domain, "/long")
        try:
            wait_until((home / "begun").exists, 20, "the long request in the app")
            repository.commit(words="two")
            platform.call("POST", "/v1/deployments/talks-on/redeploy")
            assert platform.settled("talks-on", 2)["status"] == "running"
            platform.says(domain, "two".__eq__)
            with talking(platform, domain) as latter:
                assert latter.ask("hello") == "two: hello"
            assert not long.done()
            assert former.ask("still there?") == "one: still there?"
            assert state(platform, "talks-on", 1) == "draining"
        finally:
            (home / "finish").touch()
        assert long.result() == (200, "one")
        assert former.ask("and now?") == "one: and now?"
    wait_until(lambda: state(platform, "talks-on", 1) == "retired", 60, "the end of the former release")
    assert not pathlib.Path(f"/proc/{pid}").exists()
    assert pid not in platform.pids("talks-on")


@pytest.mark.skipif(not os.environ.get("TEST_ALL"), reason="waits for the whole time of a drain: under make test-all")
def test_a_websocket_that_nobody_closes_is_closed_when_the_time_of_the_former_release_is_up(
    platform: Platform, repository
) -> None:
    repository.commit(app__py=APP, words="one")
    _, domain = platform.live("talks-long", repository, **PYTHON)
    with talking(platform, domain) as former:
        repository.commit(words="two")
        platform.call("POST", "/v1/deployments/talks-long/redeploy")
        assert platform.settled("talks-long", 2)["status"] == "running"
        assert former.ask("hello") == "one: hello"
        assert former.is_ended()
    wait_until(lambda: state(platform, "talks-long", 1) == "retired", 60, "the end of the former release")
