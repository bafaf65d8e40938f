"""`make bench-deploy`: how long a deployment of an Express app takes, on the whole product with real parts.

Prints a table and one line `BENCH {...}`. A row is a median; what is measured ends with the first answer of the new
release through the proxy, on a new connection. `first_cold`: no toolchain provisioned, no package cached, on a platform
that has just started. `cold`: the toolchain is there, as node is by hand; no package, no mirror. `warm`: a commit that
changes package.json, so `npm ci` runs. `unchanged_lockfile`: one that does not. `…_beyond_boot_s`: without the boot of
the app itself. `switch_ms`: a new route beside a hundred others → it answers. `failed_requests`: of those that came at a
steady rate, on new connections, during further deployments.
"""

import contextlib
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from benchmarks.by_hand import ByHand, seconds, until
from tests.e2e.platform import Load, Platform, Repository

COLD_ROUNDS, ROUNDS, BOOTS, API_CALLS, ROUTES = 3, 5, 7, 300, 100
BARE = "clone, npm ci, node by hand"
FIELDS = {"runtime": "nodejs", "version": "20", "run_cmd": "node server.js"}
APP = """
const express = require("express");
const app = express();
app.get("/", (_, response) => response.send(process.env.DPLOYR_RELEASE || "none"));
app.listen(process.env.PORT, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
"""


def package(version: int) -> str:
    return json.dumps({"name": "app", "version": f"1.0.{version}", "dependencies": {"express": "4.21.2"}})


def repository(directory: pathlib.Path) -> Repository:
    """An Express app with its lockfile."""
    made = Repository(directory / "source")
    (made.path / "package.json").write_text(package(0))
    subprocess.run(["npm", "install", "--silent", "--package-lock-only"], cwd=made.path, check=True)
    made.commit(server__js=APP)
    return made


class Bench:
    """One running platform and the app that is deployed on it again and again."""

    def __init__(self, platform: Platform, source: Repository) -> None:
        self.platform, self._source, self._count = platform, source, 0

    def cold(self, name: str = "app") -> float:
        """POST → first 200. What a host keeps for all its services goes first: the mirror, and the packages where builds have
        no users of their own.
        """
        for kept in ("git", "npm"):
            shutil.rmtree(self.platform.data / "agent" / "cache" / kept, ignore_errors=True)

        def run() -> None:
            made = self.platform.deploy(name, self._source, **FIELDS)
            domain = self.platform.route(name, made["service_id"])
            until(lambda: self.platform.get(domain)[0] == 200, 300, "the first answer")

        return seconds(run)

    def warm(self) -> float:
        self._count += 1
        self._source.commit(package__json=package(self._count))
        return self.redeployed()

    def unchanged_lockfile(self) -> float:
        self._count += 1
        self._source.commit(server__js=f"{APP}// {self._count}\n")
        return self.redeployed()

    def redeployed(self) -> float:
        return self._answered(lambda: self.platform.call("POST", "/v1/deployments/app/redeploy"))

    def rollback(self) -> float:
        back = {"release": self.release() - 1}
        return self._answered(lambda: self.platform.call("POST", "/v1/deployments/app/rollback", back))

    def _answered(self, change: Callable[[], object]) -> float:
        """Until the release that follows answers; then its predecessor is waited for, so that the next round is alone."""
        wanted = str(self.release() + 1)

        def run() -> None:
            change()
            until(lambda: self.platform.get("app.test")[1] == wanted, 120, f"an answer of release {wanted}")

        took = seconds(run)
        until(lambda: len(self.platform.pids("app")) == 1, 60, "the end of the former release")
        return took

    def release(self) -> int:
        return int(self.platform.call("GET", "/v1/deployments/app")["release"])

    def switch(self) -> float:
        """A new route → it answers: the whole nginx transaction, with the API and the wire around it.

        One change after the other: until it is in force the next one waits for nginx's former workers.
        """
        domain = ""

        def run() -> None:
            nonlocal domain
            domain = self.route()
            until(lambda: self.platform.get(domain)[0] == 200, 30, f"{domain} answers")

        took = seconds(run)
        until(lambda: self.platform.in_force(domain), 30, f"{domain} is in force")
        return took

    def route(self) -> str:
        service = self.platform.call("GET", "/v1/services/app")["id"]
        return self.platform.route(f"more-{time.monotonic_ns()}", service)

    def api_latency(self) -> list[float]:
        return sorted(seconds(lambda: self.platform.call("GET", "/v1/deployments/app")) for _ in range(API_CALLS))


@contextlib.contextmanager
def benches(directory: pathlib.Path, source: Repository) -> Iterator[Bench]:
    """On a platform of its own, which is gone afterwards."""
    directory.mkdir()
    platform = Platform(directory)
    try:
        platform.start()
        yield Bench(platform, source)
    finally:
        platform.down()
        shutil.rmtree(directory)


class Rows:
    def __init__(self) -> None:
        self.all: list[dict[str, object]] = []

    def add(self, what: str, ours: float, unit: str, peer: float | None = None, peer_name: str = "") -> None:
        beside = f"  {peer_name}: {peer:.3f} {unit}" if peer is not None else ""
        rounded = None if peer is None else round(peer, 3)
        self.all.append({"what": what, "ours": round(ours, 3), "peer": rounded, "peer_name": peer_name, "unit": unit})
        print(f"{what:>36} {ours:10.3f} {unit:<3}{beside}", flush=True)


def median(measure: Callable[[], float], rounds: int = ROUNDS) -> float:
    return statistics.median(measure() for _ in range(rounds))


def medians(pairs: list[tuple[float, float]]) -> tuple[float, float]:
    """Of ours and of what is done by hand, measured in turns: so both meet the same machine."""
    ours, theirs = zip(*pairs, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def cold_rows(rows: Rows, directory: pathlib.Path, source: Repository, hand: ByHand) -> None:
    first: list[float] = []
    pairs: list[tuple[float, float]] = []
    for number in range(COLD_ROUNDS):
        with benches(directory / f"cold-{number}", source) as bench:
            first.append(bench.cold())
            pairs += [(bench.cold(f"app-{name}"), hand.cold()) for name in range(COLD_ROUNDS)]
    ours, theirs = medians(pairs)
    rows.add("first_cold_s", statistics.median(first), "s", theirs, BARE)
    rows.add("cold_s", ours, "s", theirs, BARE)
    rows.add("overhead_cold_s", statistics.median(mine - bare for mine, bare in pairs), "s")


def warm_rows(rows: Rows, bench: Bench, hand: ByHand) -> None:
    bench.warm()
    ours, theirs = medians([(bench.warm(), hand.warm()) for _ in range(ROUNDS)])
    rows.add("warm_s", ours, "s", theirs, BARE)
    boot = median(hand.boot, BOOTS)
    for what, measure in (("unchanged_lockfile", bench.unchanged_lockfile), ("rollback", bench.rollback)):
        took = median(measure)
        rows.add(f"{what}_s", took, "s", boot, "the app's own boot")
        rows.add(f"{what}_beyond_boot_s", took - boot, "s")


def load_rows(rows: Rows, bench: Bench) -> None:
    begun = time.perf_counter()
    with Load(bench.platform, "app.test") as load:
        for _ in range(ROUNDS):
            bench.unchanged_lockfile()
            bench.rollback()
    rows.add("failed_requests", len(load.failed), "")
    rows.add("load_rps", len(load.answers) / (time.perf_counter() - begun), "/s")


def switch_rows(rows: Rows, bench: Bench) -> None:
    for _ in range(ROUTES):
        last = bench.route()
    until(lambda: bench.platform.in_force(last), 60, "the routes")
    rows.add("switch_ms", 1000 * median(bench.switch), "ms")
    rows.add("unchanged_lockfile_100_routes_s", median(bench.unchanged_lockfile), "s")
    latency = bench.api_latency()
    rows.add("api_get_p50_ms", 1000 * latency[len(latency) // 2], "ms")
    rows.add("api_get_p99_ms", 1000 * latency[int(len(latency) * 0.99)], "ms")


def main() -> int:
    rows = Rows()
    with tempfile.TemporaryDirectory(prefix="dployr-bench-") as text:
        directory = pathlib.Path(text)
        directory.chmod(0o711)  # run by root, apps have users of their own, who must be able to pass
        source = repository(directory)
        hand = ByHand(source, directory / "by-hand")
        cold_rows(rows, directory, source, hand)
        with benches(directory / "warm", source) as bench:
            bench.cold()
            warm_rows(rows, bench, hand)
            load_rows(rows, bench)
            switch_rows(rows, bench)
    print("BENCH " + json.dumps({"bench": "deploy", "rows": rows.all}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
