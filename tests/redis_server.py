"""A real Redis on a free port, with nothing on disk."""

import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest

from tests.waiting import wait_until

REDIS = shutil.which("redis-server", path=f"{os.environ.get('PATH', '')}:/usr/bin:/usr/local/bin")
needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


class RedisServer:
    """Can be killed and started again on the same port; it is empty then."""

    def __init__(self) -> None:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = int(found.getsockname()[1])
        self._process: subprocess.Popen | None = None

    @property
    def url(self) -> str:
        return f"redis://:s3cret@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        assert REDIS
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "s3cret"]
        self._process = subprocess.Popen(
            [REDIS, *options], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd="/"
        )
        wait_until(self._answers, what="an answer of Redis")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(10)[:1] in {b"+", b"-"}
        return False


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    server = RedisServer()
    server.start()
    try:
        yield server
    finally:
        server.kill()
