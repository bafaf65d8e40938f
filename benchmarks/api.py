"""`make bench-api`: what the layers of the API cost, and what followers of logs and slow clients cost the others.

The real control plane (SQLite on disk, a hollow agent for its rows) beside a bare Flask + sqlite3 app with the same rows
and commits on the same embedded server; both answer the same closed-loop client in the same run, one after the other,
three times; medians. GET is an authenticated `GET /v1/services` of 50 rows. POST is `POST /v1/services/:id/restart`, the
cheapest one that always commits: it changes a row and writes an audit row; no agent is connected meanwhile. For the
followers the agent comes back and writes a line a second, which each of 200 followers gets. The slow clients are 200 too:
headers and bodies that come byte by byte, and followers that read nothing (slow_clients.py); GET is measured without and
with them in turn, three times, and the medians are compared. Two rows are of refusals that must not be told apart by their time
(refusals.py): a foreign object beside a missing one, and an unknown user beside a wrong password.
"""

import contextlib
import json
import os
import pathlib
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks import hollow_agent, refusals
from dployr.client import Client
from dployr.errors import Unreachable
from tests.e2e.platform import ROOT, free_port
from tests.waiting import wait_until

SERVICES = 50
CONNECTIONS = 8
SECONDS = 4
ROUNDS = 3
FOLLOWERS = 200
SLOW_CLIENTS = 200
SLOW_S = 60  # they end by themselves then, should nobody end them
EMAIL = "bench@example.test"
PEER = "bare Flask + sqlite3"
APP = {"source": "remote", "remote": "https://github.com/user/repo", "runtime": "nodejs", "run_cmd": "npm start"}

Json = dict[str, Any]


class Process:
    """A child whose lines are read as it prints them; ended by SIGTERM."""

    def __init__(self, module: str, *arguments: str, given: Any = None, log: pathlib.Path, **environment: str) -> None:
        self._log = log.open("ab")
        self.child = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if given is not None else self._log,
            stderr=self._log,
            text=True,
        )
        if given is not None:
            self.send(given)

    def send(self, given: Any) -> None:
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(given) + "\n")
        self.child.stdin.flush()

    def line(self) -> str:
        assert self.child.stdout is not None
        text = self.child.stdout.readline()
        if not text:
            raise SystemExit(f"bench-api: {self.child.args} ended early; see {self._log.name}")
        return text.strip()

    def rss_mb(self) -> float:
        status = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def stop(self) -> str:
        """What it printed last."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        rest, _ = self.child.communicate(timeout=30)
        self._log.close()
        return rest or ""


class ControlPlane:
    """The real one in `directory`, with 50 services that a hollow agent reported as running."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory
        self._ports = [free_port() for _ in range(3)]
        self.port = self._ports[0]
        password = directory / "password"
        password.write_text(secrets.token_hex(12))
        self.process = Process(
            "control_plane",
            *("--data-dir", str(directory / "data"), "--admin-email", EMAIL),
            *("--admin-password-file", str(password), "--join-token-file", str(directory / "token")),
            *(f"--api=127.0.0.1:{self.port}", f"--hub=127.0.0.1:{self._ports[1]}"),
            f"--enrol=127.0.0.1:{self._ports[2]}",
            log=directory / "control-plane.log",
            DPLOYR_RATE_LIMIT_USER="999999999",
            DPLOYR_RATE_LIMIT_ANONYMOUS="999999999",
            DPLOYR_TRUSTED_HOPS="1",
        )
        self.client = Client(f"http://127.0.0.1:{self.port}")
        wait_until(self._is_ready, 60, "the control plane")
        self.client.login(EMAIL, password.read_text())

    def _is_ready(self) -> bool:
        if self.process.child.poll() is not None:
            raise SystemExit((self._directory / "control-plane.log").read_text())
        with contextlib.suppress(Unreachable):
            return self.client.ready()
        return False

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.client.token}"}

    @contextlib.contextmanager
    def agent(self) -> Iterator[None]:
        hub, enrol = (f"127.0.0.1:{port}" for port in self._ports[1:])
        where = self._directory / "agent"
        agent = Process(
            hollow_agent.__name__, str(where), hub, enrol, str(self._directory / "token"), given={},
            log=self._directory / "agent.log",
        )  # fmt: skip
        try:
            wait_until(lambda: agent.line() == "connected", 30, "the agent")
            yield
        finally:
            agent.stop()

    def fill(self) -> list[Json]:
        for number in range(SERVICES):  # on the instance, which is online
            self.client.deployments.create(name=f"app-{number:02}", port=3000, **APP)
        wait_until(
            lambda: all(service["status"] == "running" for service in self.client.services.list()), 60, "50 reports"
        )
        return list(self.client.services.list())


def load(port: int, method: str, paths: list[str], headers: dict[str, str], log: pathlib.Path) -> Json:
    """What the client in its own process measured; ends the bench when a request failed."""
    arguments = ("load", str(port), method, str(CONNECTIONS), str(SECONDS))
    client = Process("benchmarks.http_load", *arguments, given={"headers": headers, "paths": paths}, log=log)
    found: Json = json.loads(client.line())
    client.stop()
    if found["failed"]:
        raise SystemExit(f"bench-api: {found['failed']} requests failed, the first with {found['first_failure']}")
    return found


@contextlib.contextmanager
def crowd(plane: ControlPlane, paths: list[str], log: pathlib.Path, *command: str) -> Iterator[None]:
    """The clients of `command` beside the others; says at the end what it prints."""
    given = {"headers": {**plane.headers, "Accept": "application/x-ndjson"}, "paths": paths}
    clients = Process(*command, given=given, log=log)
    try:
        assert clients.line() == "ready"
        yield
    finally:
        rest, _ = clients.child.communicate(timeout=60)
        print(f"    {command[0].rpartition('.')[2]}: {rest.strip()}")


def median(rounds: list[Json]) -> Json:
    return {key: statistics.median(found[key] for found in rounds) for key in ("rps", "p50_ms", "p99_ms")}


def measure(directory: pathlib.Path) -> list[Json]:
    log = directory / "clients.log"
    plane = ControlPlane(directory)
    bare: Process | None = None
    try:
        with plane.agent():
            rows = plane.fill()
        bare = Process("benchmarks.bare_app", str(directory / "bare.db"), given=rows, log=directory / "bare.log")
        bare_port = int(bare.line())
        restarts = [f"/v1/services/{row['id']}/restart" for row in rows]
        asked = {"get": ("GET", ["/v1/services"]), "post": ("POST", restarts)}
        found: dict[tuple[str, str], list[Json]] = {}
        for _ in range(ROUNDS):
            for name, (method, paths) in asked.items():
                ours = load(plane.port, method, paths, plane.headers, log)
                found.setdefault((name, "ours"), []).append(ours)
                found.setdefault((name, "bare"), []).append(load(bare_port, method, paths, {}, log))
        rows_of = [
            row for name in asked for row in compared(name, median(found[name, "ours"]), median(found[name, "bare"]))
        ]
        rows_of += refused(plane, rows)
        rows_of += crowded(plane, rows, log)
        rows_of.append(row("rss_mb", plane.process.rss_mb(), bare.rss_mb(), PEER, "MB"))
        return rows_of
    finally:
        plane.client.close()
        plane.process.stop()
        if bare is not None:
            bare.stop()


def refused(plane: ControlPlane, services: list[Json]) -> list[Json]:
    """A ratio near 1 tells nobody what there is."""
    foreign = refusals.foreign(plane.port, plane.client, [service["id"] for service in services])
    logins = refusals.logins(plane.port, EMAIL)
    return [
        row("foreign_404_p50_ms", *foreign, "an id that does not exist", "ms"),
        row("unknown_user_p50_ms", *logins, "a wrong password", "ms"),
    ]


def crowded(plane: ControlPlane, services: list[Json], log: pathlib.Path) -> list[Json]:
    """GET beside followers and beside slow clients, and without them."""
    followed = [f"/v1/services/{service['id']}/logs?follow=true&tail=1" for service in services]
    many = ("benchmarks.http_load", "follow", str(plane.port), str(FOLLOWERS))
    slow = ("benchmarks.slow_clients", str(plane.port), str(SLOW_CLIENTS), str(SLOW_S))
    alone, beside = [], []
    with plane.agent():
        quiet = get(plane, log)
        with crowd(plane, followed, log, *many):
            busy = get(plane, log)
        for _ in range(ROUNDS):
            alone.append(get(plane, log))
            with crowd(plane, followed, log, *slow):
                beside.append(get(plane, log))
    print(f"    GET with {FOLLOWERS} followers: {busy['rps']:.0f} requests a second, without: {quiet['rps']:.0f}")
    return [
        row("follower_api_p99_ms", busy["p99_ms"], quiet["p99_ms"], "no followers", "ms"),
        row("slow_clients_p99_ms", median(beside)["p99_ms"], median(alone)["p99_ms"], "no slow clients", "ms"),
    ]


def get(plane: ControlPlane, log: pathlib.Path) -> Json:
    return load(plane.port, "GET", ["/v1/services"], plane.headers, log)


def compared(name: str, ours: Json, bare: Json) -> list[Json]:
    return [
        row(f"{name}_rps", ours["rps"], bare["rps"], PEER, "/s"),
        row(f"{name}_p50_ms", ours["p50_ms"], bare["p50_ms"], PEER, "ms"),
        row(f"{name}_p99_ms", ours["p99_ms"], bare["p99_ms"], PEER, "ms"),
    ]


def row(what: str, ours: float, peer: float, peer_name: str, unit: str) -> Json:
    print(f"{what:>22} {ours:10.2f} {unit:<3} {peer_name}: {peer:.2f} {unit} (x {ours / peer:.2f})")
    return {"what": what, "ours": round(ours, 3), "peer": round(peer, 3), "peer_name": peer_name, "unit": unit}


def main() -> int:
    print(f"    {CONNECTIONS} connections, {SECONDS} s, median of {ROUNDS}; POST is /v1/services/:id/restart")
    with tempfile.TemporaryDirectory(prefix="dployr-bench-") as text:
        rows = measure(pathlib.Path(text))
    print("BENCH " + json.dumps({"bench": "api", "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
