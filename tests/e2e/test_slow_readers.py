"""Readers of a log that stop or die: only they lose lines, what they lost is marked, and nobody's memory grows."""

import contextlib
import http.client
import json
import pathlib
import socket
from collections.abc import Callable

from tests.e2e.platform import Platform

MIB = 1 << 20
LINES, PORTION = 1500, 100  # of 15 kB: more than stands in any buffer on the way, and as much as stands in each
APP = f"""
import http.server, os

written = 0

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/more":
            write_more()
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

def write_more():
    global written
    for _ in range({PORTION}):
        written += 1
        os.write(1, b"%d %s\\n" % (written, b"x" * 15000))

http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Reader:
    """A follower over a connection with small buffers; it reads when it is told to."""

    def __init__(self, platform: Platform, name: str) -> None:
        self.lines: list[dict] = []
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 << 10)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", platform.api))
        self._connection = http.client.HTTPConnection("127.0.0.1", platform.api)
        self._connection.sock = self._socket
        path = f"/v1/services/{name}/logs?tail=0&follow=true"
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {platform.token}"})
        self._response = self._connection.getresponse()

    @property
    def seen(self) -> int:
        """The number that the last line of the application tells."""
        return next((number(line) for line in reversed(self.lines) if "line" in line), 0)

    @property
    def last(self) -> int:
        """Up to which number of the log it knows what was written, or that it is lost."""
        return (self.lines[-1]["gap"]["to"] if "gap" in self.lines[-1] else self.lines[-1]["seq"]) if self.lines else 0

    def read(self, is_done: Callable[[], bool]) -> None:
        while not is_done() and (line := self._response.readline()):
            if line.strip():
                self.lines.append(json.loads(line))

    def close(self) -> None:
        self._response.close()
        self._connection.close()


def number(line: dict) -> int:
    """That the application wrote."""
    return int(line["line"].split()[0])


def resident(platform: Platform) -> int:
    """Bytes of the control plane and the agent."""
    pids = [pid for module in ("control_plane", "node_agent") for pid in platform.processes_of(module)]
    assert len(pids) >= 2
    return sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 for pid in pids)


def lost(lines: list[dict]) -> int:
    """How many lines are in gaps; every number is there once or in one."""
    expected, found = None, 0
    for line in lines:
        first, last = (line["gap"]["from"], line["gap"]["to"]) if "gap" in line else (line["seq"], line["seq"])
        assert expected in {None, first}
        expected = last + 1
        found += last - first + 1 if "gap" in line else 0
    return found


def test_a_reader_that_is_too_slow_or_dies_loses_lines_alone_with_a_marker_and_costs_little(
    platform, repository
) -> None:
    repository.commit(main__py=APP)
    _, domain = platform.live("noisy", repository.path, runtime="python", version="3.11", run_cmd="python3 main.py")
    with contextlib.ExitStack() as stack:
        steady, slow, dead = (stack.enter_context(contextlib.closing(Reader(platform, "noisy"))) for _ in range(3))
        before = resident(platform)
        for written in range(PORTION, LINES + 1, PORTION):
            platform.get(domain, "/more")
            steady.read(lambda: steady.seen == written)  # noqa: B023
            slow.read(lambda: len(slow.lines) * PORTION >= written * 5)  # noqa: B023
            if written == 3 * PORTION:
                dead.close()
        assert resident(platform) - before < 48 * MIB
        slow.read(lambda: slow.last == steady.last)
    assert [number(line) for line in steady.lines] == list(range(1, LINES + 1))
    assert lost(steady.lines) == 0
    kept = [line for line in slow.lines if "line" in line]
    assert lost(slow.lines) == LINES - len(kept)
    assert len(kept) < LINES
