"""`make bench-deploy`: how long a deployment of the Node example takes, on the whole product with real parts.

Prints a table and one line `BENCH {...}`. Rows: POST → first 200 through the proxy, cold (no toolchain
provisioned, no package cached) and warm (a PUT with an unchanged lockfile → the new release answers); the same commands by hand as the floor of
the cold row; a new route → it answers; API latency under one client; requests lost meanwhile.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable

from tests.e2e.platform import ROOT, Load, Platform, Repository, free_port
from tests.waiting import wait_until

WARM_ROUNDS = 5
API_CALLS = 300
FIELDS = {"runtime": "nodejs", "version": "20", "build_cmd": "npm install", "run_cmd": "npm start"}


def repository(directory: pathlib.Path) -> Repository:
    """The Node example in a git repository of its own."""
    made = Repository(directory / "hello-node")
    shutil.copytree(ROOT / "examples" / "hello-node", made.path, dirs_exist_ok=True)
    made.commit()
    return made


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def cold(platform: Platform, source: Repository, name: str) -> float:
    """POST → first 200 by its domain."""

    def run() -> None:
        made = platform.deploy(name, source, **FIELDS)
        domain = platform.route(name, made["service_id"])
        wait_until(lambda: platform.get(domain)[0] == 200, 300, f"{domain} answers")

    return seconds(run)


def warm(platform: Platform, name: str, number: int) -> tuple[float, int, float]:
    """(PUT → the new release answers, requests lost meanwhile, requests a second really sent); same lockfile."""
    domain = f"{name}.test"
    release = platform.call("GET", f"/v1/deployments/{name}")["release"] + 1
    begun = time.perf_counter()
    with Load(platform, domain) as load:

        def run() -> None:
            platform.call("PUT", f"/v1/deployments/{name}", {"env": {"ROUND": str(number)}})
            wait_until(lambda: str(release) in load.answers[-1][1], 120, f"answers of release {release}")

        took = seconds(run)
    return took, len(load.failed), len(load.answers) / (time.perf_counter() - begun)


def switch_ms(platform: Platform, name: str) -> float:
    """A new route → it answers: the whole nginx transaction, with the API and the wire around it."""
    service = platform.call("GET", f"/v1/services/{name}")["id"]

    def run() -> None:
        domain = platform.route(f"{name}-switch-{time.monotonic_ns()}", service)
        wait_until(lambda: platform.get(domain)[0] == 200, 30, f"{domain} answers")

    return 1000 * statistics.median(seconds(run) for _ in range(WARM_ROUNDS))


def by_hand(source: Repository, directory: pathlib.Path) -> float:
    """clone, npm install with an empty cache, start, first answer: the floor, with the host's own node and npm."""
    target, port = directory / "by-hand", free_port()
    environment = {**os.environ, "PORT": str(port), "npm_config_cache": str(directory / "npm-cache")}
    started: list[subprocess.Popen[bytes]] = []

    def run() -> None:
        subprocess.run(["git", "clone", "--quiet", "--depth=1", source.as_uri(), str(target)], check=True)
        subprocess.run(["npm", "install", "--silent"], cwd=target, env=environment, check=True)
        started.append(subprocess.Popen(["node", "server.js"], cwd=target, env=environment, stdout=subprocess.DEVNULL))
        wait_until(lambda: answers(port), 30, "the app started by hand")

    try:
        return seconds(run)
    finally:
        for child in started:
            child.kill()
            child.wait()


def answers(port: int) -> bool:
    """Whether an HTTP server on loopback answers 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def api_latency(platform: Platform, name: str) -> list[float]:
    return sorted(seconds(lambda: platform.call("GET", f"/v1/deployments/{name}")) for _ in range(API_CALLS))


def main() -> int:
    rows: list[dict[str, object]] = []

    def row(what: str, ours: float, unit: str, peer: float | None = None, peer_name: str = "") -> None:
        rows.append({"what": what, "ours": round(ours, 3), "peer": peer, "peer_name": peer_name, "unit": unit})
        print(f"{what:>22} {ours:10.3f} {unit:<3}" + (f"  {peer_name}: {peer:.3f} {unit}" if peer is not None else ""))

    with tempfile.TemporaryDirectory(prefix="dployr-bench-") as text:
        directory = pathlib.Path(text)
        source = repository(directory)
        platform = Platform(directory)
        try:
            platform.start()
            hand = by_hand(source, directory) if shutil.which("npm") else None
            row("cold_s", cold(platform, source, "cold"), "s", hand, "the same by hand, no proxy")
            row("second_service_s", cold(platform, source, "second"), "s")
            rounds = [warm(platform, "second", number) for number in range(2, 2 + WARM_ROUNDS)]
            row("warm_s", statistics.median(took for took, _, _ in rounds), "s")
            row("failed_requests", sum(lost for _, lost, _ in rounds), "")
            row("load_rps", statistics.median(rate for _, _, rate in rounds), "/s")
            row("switch_ms", switch_ms(platform, "second"), "ms")
            latency = api_latency(platform, "second")
            row("api_get_p50_ms", 1000 * latency[len(latency) // 2], "ms")
            row("api_get_p99_ms", 1000 * latency[int(len(latency) * 0.99)], "ms")
        finally:
            platform.down()
    print("BENCH " + json.dumps({"bench": "deploy", "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
