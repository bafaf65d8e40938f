"""`make bench-supervisor`: our supervisor beside supervisord, circus, pm2, runit and s6, in one run; medians.

All start the same small program (peers/child.c), which says itself when it runs; each has a log per program. Restart: all
supervisors run at once, and in turn one program of each is killed, quiet and beside a neighbour that floods its log.
Fleets of 100 and 500: one supervisor after the other, round by round. Capture: ten writers, and as many
without any supervisor. Survival: everything that the supervisor consists of is killed and started again beside ten programs
that write a line every 10 ms. The last rows follow a log through the API of the whole product (follower.py).

Settings of the peers are their defaults, but for logs, which are never rotated. They are asked over their own channels;
the time that the command of pm2 and the client of circus need to start is part of theirs. `--quick` does less of each.
"""

import argparse
import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

from benchmarks import capture, follower, scenes
from benchmarks.peers import install, ours
from benchmarks.peers.base import Supervisor
from benchmarks.peers.field import Field, Kind
from benchmarks.table import Table

LARGE = 500  # a fleet of this size is measured once
LOOK_S = 3.0


@dataclasses.dataclass(frozen=True, slots=True)
class Profile:
    restarts: int
    fleets: tuple[int, ...]
    rounds: int
    idle_s: float
    lines: int  # of each of ten writers
    captures: int
    follow_s: float


FULL = Profile(restarts=10, fleets=(100, 500), rounds=3, idle_s=15, lines=500_000, captures=5, follow_s=12)
QUICK = Profile(restarts=3, fleets=(20,), rounds=1, idle_s=3, lines=50_000, captures=1, follow_s=3)


class Bench:
    def __init__(self, field: Field, profile: Profile) -> None:
        self.field, self.profile = field, profile
        self.table = Table()

    def restarts(self) -> None:
        """Kill one program after the other, all supervisors in turn: first quiet, then beside a flood."""
        self.table.row("restart_ms", "ms")
        self.table.row("restart_flood_ms", "ms")
        count = self.profile.restarts
        with self.field.all(functools.partial(scenes.with_neighbour, 2 * count)) as running:
            for supervisor in running:
                supervisor.start()
                supervisor.wait_stamps(2 * count)
            time.sleep(scenes.SETTLED_S)
            for number in range(2 * count):
                for supervisor in running:
                    with scenes.flooded(supervisor) if number >= count else contextlib.nullcontext():
                        took = scenes.restart_s(supervisor, number)
                    what = "restart_ms" if number < count else "restart_flood_ms"
                    self.table.add(what, supervisor.name, 1000 * took)

    def fleets(self) -> None:
        self.table.row("rss_0_mb", "MB")
        self.field.each(
            "empty run", lambda _: {}, lambda found: self.table.add("rss_0_mb", found.name, scenes.settled_rss(found))
        )
        self.table.row(f"mass_restart_{self.profile.fleets[0]}_ms", "ms")
        self.table.row(f"idle_cpu_{self.profile.fleets[-1]}_pct", "%")
        for count in self.profile.fleets:
            for what, unit in (("start_{}_ms", "ms"), ("rss_{}_mb", "MB"), ("pss_{}_mb", "MB")):
                self.table.row(what.format(count), unit)
            for _ in range(self.profile.rounds if count < LARGE else 1):
                programs, measured = functools.partial(scenes.stampers, count), functools.partial(self._fleet, count)
                self.field.each(f"fleet of {count}", programs, measured)

    def _fleet(self, count: int, supervisor: Supervisor) -> None:
        name, begun = supervisor.name, time.monotonic()
        supervisor.start()
        stamps = supervisor.wait_stamps(count)
        self.table.add(f"start_{count}_ms", name, 1000 * (max(stamp.at for stamp in stamps) - begun))
        self.table.add(f"rss_{count}_mb", name, scenes.settled_rss(supervisor))
        self.table.add(f"pss_{count}_mb", name, supervisor.pss_mb())
        if count == self.profile.fleets[-1]:
            supervisor.rest()  # what a start leaves to be done is no idleness
            used, begun = supervisor.cpu_s(), time.monotonic()
            time.sleep(self.profile.idle_s)
            self.table.add(
                f"idle_cpu_{count}_pct", name, 100 * (supervisor.cpu_s() - used) / (time.monotonic() - begun)
            )
        if count == self.profile.fleets[0]:
            begun = time.monotonic()
            for stamp in stamps:
                os.kill(stamp.pid, signal.SIGKILL)
            again = supervisor.wait_stamps(2 * count)
            self.table.add(f"mass_restart_{count}_ms", name, 1000 * (max(stamp.at for stamp in again) - begun))

    def captures(self) -> None:
        """Another one begins each round: what was written before slows down what is written next."""
        capture.rows(self.table)
        lines = self.profile.lines
        programs, measured = (
            functools.partial(capture.programs, lines),
            functools.partial(capture.measure, self.table, lines),
        )
        turns: list[Kind | None] = [None, *self.field.kinds]
        for number in range(self.profile.captures):
            at = number % len(turns)
            for kind in turns[at:] + turns[:at]:
                if kind is None:
                    capture.bare(self.table, lines, self.field.directory / f"bare-{number}", self.field.tools.child)
                else:
                    self.field.one(kind, "capture", programs, measured)

    def survival(self) -> None:
        self.table.row("adopted", "", more_is_better=True)
        self.table.row("doubles", "")
        self.table.row("back_ms", "ms")
        self.field.each("survival", scenes.tickers, self._survive)

    def _survive(self, supervisor: Supervisor) -> None:
        supervisor.start()
        before = {stamp.pid for stamp in supervisor.wait_stamps(scenes.LOGGERS)}
        time.sleep(scenes.SETTLED_S)
        supervisor.kill()
        begun = time.monotonic()
        supervisor.run_again()
        self.table.add("back_ms", supervisor.name, 1000 * (time.monotonic() - begun))
        time.sleep(LOOK_S)
        now = set(supervisor.children())
        self.table.add("adopted", supervisor.name, len(before & now))
        self.table.add("doubles", supervisor.name, max(0, len(now) - scenes.LOGGERS))
        if isinstance(supervisor, ours.Ours):  # the programs of the others count from one again
            lost = sum(capture.holes(supervisor.log(name)) for name in supervisor.programs)
            self.table.add("log_lost", supervisor.name, lost)


def measure(directory: pathlib.Path, profile: Profile) -> Table:
    directory.chmod(0o755)
    tools = install.prepare()
    child = directory / "child"
    shutil.copy2(tools.child, child)  # where programs of other users reach it
    bench = Bench(Field(directory, dataclasses.replace(tools, child=child)), profile)
    for part in (bench.restarts, bench.fleets, bench.captures, bench.survival):
        begun = time.monotonic()
        part()
        print(f"    {part.__name__}: {time.monotonic() - begun:.0f} s", flush=True)
    return bench.table


def main() -> int:
    parser = argparse.ArgumentParser(description="Our supervisor beside its peers.")
    parser.add_argument("--quick", action="store_true", help="less of everything, under a minute or two")
    profile = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(prefix="dployr-bench-") as text:
        table = measure(pathlib.Path(text), profile)
    follower.measure(table, profile.follow_s)
    table.print()
    table.print_bench("supervisor")
    return 0


if __name__ == "__main__":
    sys.exit(main())
