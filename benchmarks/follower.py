"""One line from an application to a follower: `dployr up`, an application that writes 1,000 lines a second, each with its
time, and one follower of its log through the API.
"""

import pathlib
import tempfile
import time

from benchmarks.table import OURS, Table
from tests.e2e.platform import Platform, Repository

RATE = 1000
WARM_UP_S = 1.0
APP = f"""
import http.server, os, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
number, begun = 0, time.monotonic()
while True:
    number += 1
    os.write(1, b"%d %.6f\\n" % (number, time.monotonic()))
    time.sleep(max(0, begun + number / {RATE} - time.monotonic()))
"""


def measure(table: Table, seconds: float) -> None:
    for what, unit in (("line_to_follower_p50_ms", "ms"), ("line_to_follower_p99_ms", "ms"), ("follower_lost", "")):
        table.row(what, unit)
    with tempfile.TemporaryDirectory(prefix="dployr-bench-") as text:
        directory = pathlib.Path(text)
        platform = Platform(directory)
        try:
            platform.start()
            repository = Repository(directory / "app")
            repository.commit(main__py=APP)
            platform.deploy("app", repository.path, runtime="python", version="3.11", run_cmd="exec python3 main.py")
            if (status := platform.settled("app", 1)["status"]) != "running":
                raise SystemExit(f"bench-supervisor: the application that writes lines is {status}")
            late, lost = _follow(platform, seconds)
        finally:
            platform.down()
    late.sort()
    table.add("line_to_follower_p50_ms", OURS, 1000 * late[len(late) // 2])
    table.add("line_to_follower_p99_ms", OURS, 1000 * late[int(len(late) * 0.99)])
    table.add("follower_lost", OURS, lost)


def _follow(platform: Platform, seconds: float) -> tuple[list[float], int]:
    """How late each line was, in seconds, and how many of them never came."""
    late, numbers = [], []
    begun = time.monotonic()
    with platform.follow("/v1/services/app/logs?tail=1&follow=true") as lines:
        for line in lines:
            now = time.monotonic()
            number, written = line["line"].split()
            if now - begun > WARM_UP_S:
                late.append(now - float(written))
                numbers.append(int(number))
            if now - begun > WARM_UP_S + seconds:
                break
    return late, numbers[-1] - numbers[0] + 1 - len(numbers)
