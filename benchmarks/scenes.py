"""What the supervisors of the bench run, and what happens to it."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from benchmarks import capture
from benchmarks.peers.base import Programs, Supervisor
from tests.waiting import wait_until

SETTLED_S = 1.5  # runit and s6 hold a program back that ran for less than a second
FLOOD_MB, FLOODING_BYTES = 300, 10 << 20
LOGGERS = 10


def stampers(count: int, supervisor: Supervisor) -> Programs:
    return {f"p{number}": ("stamp", str(supervisor.stamped)) for number in range(count)}


def with_neighbour(count: int, supervisor: Supervisor) -> Programs:
    """And one that can flood its log."""
    flood = ("flood", os.devnull, str(FLOOD_MB), f"{supervisor.directory}/go")
    return {**stampers(count, supervisor), "flood": flood}


def tickers(supervisor: Supervisor) -> Programs:
    return {f"t{number}": ("tick", str(supervisor.stamped)) for number in range(LOGGERS)}


def settled_rss(supervisor: Supervisor) -> float:
    time.sleep(SETTLED_S)
    return supervisor.rss_mb()


def restart_s(supervisor: Supervisor, number: int) -> float:
    """From SIGKILL for the program that started as number `number` to its successor's own word."""
    before = supervisor.stamps()
    begun = time.monotonic()
    os.kill(before[number].pid, signal.SIGKILL)
    return supervisor.wait_stamps(len(before) + 1)[-1].at - begun


@contextlib.contextmanager
def flooded(supervisor: Supervisor) -> Iterator[None]:
    """A neighbour writes as fast as its log is taken."""
    go, log = supervisor.directory / "go", supervisor.log("flood")
    before = capture.size(log)
    quiet = range(before, before + FLOODING_BYTES)  # smaller: it was rotated
    go.touch()
    try:
        wait_until(lambda: capture.size(log) not in quiet, what=f"the flood in {log}")
        yield
    finally:
        go.unlink()
