"""A real control plane in a process of its own, with an instance, and everything that it says and writes."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from typing import Any

from control_plane import store
from control_plane.clock import SystemClock
from tests import builders
from tests.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[1]
EMAIL = "operator@example.test"
OPTIONS = (
    "tls",
    "redirect_to",
    "force_https",
    "basic_auth",
    "headers",
    "max_body",
    "websocket",
    "maintenance",
    "weights",
)
ABLE = {  # what an agent says that can do everything
    "replicas": "100",
    "sources": "remote,local",
    "processes": "any",
    "strategies": "rolling,recreate,canary",
    "health_checks": "http,tcp,command",
    "limits": "memory,cpu,pids,disk",
    "route_options": ",".join(OPTIONS),
}
UNLIMITED = {"DPLOYR_RATE_LIMIT_USER": "1000000", "DPLOYR_RATE_LIMIT_ANONYMOUS": "1000000"}


@dataclasses.dataclass(frozen=True)
class Seen:
    """One answer."""

    method: str
    target: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningPlane:
    """`call` records every answer in `seen`; `location` names the operation of a target, for tables of what may be where."""

    def __init__(self, directory: pathlib.Path, port: int, password: str) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.port = port
        self.password = password
        self.token = ""
        self.seen: list[Seen] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.command: list[str] = []
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        """Also after `kill`; returns when it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self.is_ready, 60, "the control plane")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def call(
        self,
        method: str,
        target: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> Seen:
        sent = dict(headers or {})
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        bearer = self.token if token is None else token
        if bearer:
            sent.setdefault("Authorization", f"Bearer {bearer}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, target, body, sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            seen = Seen(method, target, response.status, found, response.read())
        self.seen.append(seen)
        return seen

    def must(self, method: str, target: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        answer = self.call(method, target, body, headers)
        assert 200 <= answer.status < 300, (method, target, answer.status, answer.body[:500])
        return answer.json if answer.body else None

    def login(self) -> Any:
        answer = self.must("POST", "/v1/auth/login", {"email": EMAIL, "password": self.password})
        self.token = answer["access_token"]
        return answer

    def is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError, http.client.HTTPException):
            return self.call("GET", "/health").status == 200
        return False

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(30) == 0, self.log()
            self.process = None


async def _with_an_instance(path: pathlib.Path) -> None:
    """An instance that is online for as long as a test runs: its lease ends tomorrow."""
    opened = await store.open(path, SystemClock())
    async with opened.write() as tx:
        tomorrow = SystemClock().now().replace(year=SystemClock().now().year + 1)
        await tx.insert_instance(builders.an_instance(last_seen=tomorrow, facts={"capabilities": ABLE}))
    await opened.close()


@contextlib.contextmanager
def running(
    directory: pathlib.Path, port: int, *more: str, settings: dict[str, str] | None = None
) -> Iterator[RunningPlane]:
    """A control plane on `port` with an operator who is logged in. Ended at the end of the block.

    `more` are flags, `settings` variables of the environment.
    """
    import asyncio

    password = f"operator-{secrets.token_hex(8)}"
    plane = RunningPlane(directory, port, password)
    plane.data.mkdir(mode=0o700)
    (directory / "password").write_text(password)
    (directory / "password").chmod(0o600)
    asyncio.run(_with_an_instance(plane.data / "control-plane.db"))
    plane.command = [
        *(sys.executable, "-m", "control_plane", "run", "--data-dir", str(plane.data)),
        *("--api", f"127.0.0.1:{port}", "--hub", "127.0.0.1:0", "--enrol", "127.0.0.1:0"),
        *("--admin-email", EMAIL, "--admin-password-file", str(directory / "password"), *more),
    ]
    plane.environment = {**UNLIMITED, **(settings or {})}
    try:
        plane.start()
        plane.login()
        yield plane
    finally:
        if plane.process is not None:
            plane.process.kill()
            plane.process.wait(10)


def path_of(target: str) -> str:
    return urllib.parse.urlsplit(target).path
