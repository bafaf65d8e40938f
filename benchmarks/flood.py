"""`make bench-flood`: a service that writes 100,000 lines a second for half a minute, and a neighbour that is asked for pages.

The whole product by `dployr up`. The neighbour's latency through the proxy, quiet and beside the flood; the most memory of
the supervisor; what the flood's log took on the disk; and whether every number of it is a line or in a gap of exactly its
lines, which are read from the disk afterwards. `--quick` floods for three seconds.
"""

import argparse
import asyncio
import pathlib
import sys
import tempfile
import threading
import time
from typing import Self

from benchmarks.table import OURS, Table
from node_agent.log_reader import LogReader
from node_agent.model.log import LogQuery
from node_agent.paths import Paths
from tests.e2e.platform import Platform, Repository
from tests.waiting import wait_until

RATE, LINE = 100_000, 200  # bytes: half a minute of it is more than a service's log may take
SECONDS, QUICK_S = 30, 3
PACE_S, LOOK_S = 0.005, 0.05
APP = f"""
import http.server, os, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/flood/"):
            threading.Thread(target=flood, args=(int(self.path[7:]),)).start()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

def flood(lines):
    begun = time.monotonic()
    for number in range(0, lines, 1000):
        text = b"".join(b"%0{LINE - 1}d\\n" % n for n in range(number + 1, number + 1001))
        while text:
            text = text[os.write(1, text):]
        time.sleep(max(0, begun + number / {RATE} - time.monotonic()))

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Watch:
    """The most bytes on the disk that the log at `logs` was seen with."""

    def __init__(self, logs: pathlib.Path) -> None:
        self._logs, self.most, self._ended = logs, 0, threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            used = sum(file.stat().st_blocks * 512 for file in self._logs.glob("web*"))
            self.most = max(self.most, used)


def measure(table: Table, directory: pathlib.Path, seconds: int) -> None:
    for what, unit in (("neighbour_p50_ms", "ms"), ("neighbour_p99_ms", "ms")):
        table.row(f"{what[:-3]}_quiet_ms", unit)
        table.row(f"{what[:-3]}_flood_ms", unit)
    for what, unit in (
        ("flood_disk_mb", "MB"),
        ("supervisor_peak_mb", "MB"),
        ("flood_in_gaps", ""),
        ("flood_wrong", ""),
    ):
        table.row(what, unit)
    platform = Platform(directory)
    try:
        platform.start()
        repository = Repository(directory / "app")
        repository.commit(main__py=APP)
        app = {"runtime": "python", "version": "3.11", "run_cmd": "exec python3 main.py"}
        platform.live("neighbour", repository.path, **app)
        flood, domain = platform.live("flood", repository.path, **app)
        service_id, paths = flood["service_id"], Paths(platform.data / "agent")
        _latency(table, platform, "quiet", seconds)
        lines, before = RATE * seconds, asyncio.run(_numbers(paths, service_id))
        with Watch(paths.logs(service_id)) as watch:
            platform.get(domain, f"/flood/{lines}")
            _latency(table, platform, "flood", seconds)
            raw = paths.log_file(service_id, "web.1", 1, "stdout")
            wait_until(lambda: raw.stat().st_size >= LINE * lines, 60, "the end of the flood")
        table.add("flood_disk_mb", OURS, watch.most / 1e6)
        table.add("supervisor_peak_mb", OURS, _peak_mb(platform))
        wait_until(lambda: asyncio.run(_numbers(paths, service_id)) >= before + lines, 60, "the last number")
        in_gaps, wrong = asyncio.run(_check(paths, service_id, before + lines, lines))
        table.add("flood_in_gaps", OURS, in_gaps)
        table.add("flood_wrong", OURS, wrong)
    finally:
        platform.down()


def _latency(table: Table, platform: Platform, when: str, seconds: int) -> None:
    took, ends = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < ends:
        platform.get("neighbour.test")
        took.append(time.monotonic() - begun)
        time.sleep(PACE_S)
    took.sort()
    table.add(f"neighbour_p50_{when}_ms", OURS, 1000 * took[len(took) // 2])
    table.add(f"neighbour_p99_{when}_ms", OURS, 1000 * took[int(len(took) * 0.99)])


def _peak_mb(platform: Platform) -> float:
    (pid,) = platform.processes_of("node_agent.supervisor")
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


async def _check(paths: Paths, service_id: str, numbers: int, lines: int) -> tuple[int, int]:
    """How many of the log's `numbers` are in gaps, and what is wrong: numbers too many or too few, lines that are not the
    newest of the flood's.
    """
    expected, in_gaps, wrong, left = 1, 0, 0, list[int]()
    async for batch in LogReader(paths).read(LogQuery(service_id, tail=10**9)):
        for line in batch.lines:
            wrong += line.seq != expected
            expected = (line.gap_to or line.seq) + 1
            in_gaps += line.gap_to - line.seq + 1 if line.gap_to else 0
            if not line.gap_to and line.process == "web.1":
                left.append(int(line.line))
    wrong += abs(expected - 1 - numbers) + (left != list(range(lines + 1 - len(left), lines + 1)))
    return in_gaps, wrong


async def _numbers(paths: Paths, service_id: str) -> int:
    """The last number that was given."""
    return max(
        [line.seq async for batch in LogReader(paths).read(LogQuery(service_id, tail=1)) for line in batch.lines]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="A service that floods its log, and its neighbour.")
    parser.add_argument("--quick", action="store_true", help="three seconds instead of thirty")
    seconds = QUICK_S if parser.parse_args().quick else SECONDS
    table = Table()
    with tempfile.TemporaryDirectory(prefix="dployr-bench-") as text:
        directory = pathlib.Path(text)
        directory.chmod(0o711)
        measure(table, directory, seconds)
    table.print()
    table.print_bench("flood")
    return 0


if __name__ == "__main__":
    sys.exit(main())
