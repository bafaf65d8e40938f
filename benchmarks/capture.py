"""Ten programs write numbered lines as fast as they can: how fast a supervisor takes them, at what price, with what loss."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import time

from benchmarks.peers.base import Programs, Supervisor
from benchmarks.peers.ours import Ours
from benchmarks.table import Table

WRITERS, LINE = 10, 100
LOOK_S, STUCK_S = 0.002, 10.0
BARE = "writer >> file"


def rows(table: Table) -> None:
    table.row("log_mb_s", "MB/s", more_is_better=True, against=BARE)
    table.row("log_indexed_mb_s", "MB/s", more_is_better=True, against=BARE)
    table.row("log_cpu_s_per_gb", "s/GB")
    table.row("log_disk_mb", "MB")
    table.row("log_lost", "", is_total=True)


def programs(lines: int, supervisor: Supervisor) -> Programs:
    words = ("write", str(supervisor.stamped), str(lines), str(supervisor.directory / "go"))
    return {f"w{number}": words for number in range(WRITERS)}


def bare(table: Table, lines: int, directory: pathlib.Path, child: pathlib.Path) -> None:
    """The same writers, each with a file of its own as its output and nobody beside them."""
    directory.mkdir()
    logs = [directory / f"w{number}" for number in range(WRITERS)]
    writers = []
    try:
        for log in logs:
            with log.open("ab") as output:
                words = [str(word) for word in (child, "write", directory / "stamps", lines, directory / "go")]
                writers.append(subprocess.Popen(words, stdout=output))
        time.sleep(0.2)
        took = _timed(directory / "go", logs, lines)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
        shutil.rmtree(directory)
    table.add("log_mb_s", BARE, _megabytes(lines) / took)
    table.add("log_indexed_mb_s", BARE, _megabytes(lines) / took)


def measure(table: Table, lines: int, supervisor: Supervisor) -> None:
    supervisor.start()
    supervisor.wait_stamps(WRITERS)
    logs = [supervisor.log(name) for name in supervisor.programs]
    used, begun = supervisor.cpu_s(), time.monotonic()
    took = _timed(supervisor.directory / "go", logs, lines)
    lost = 0
    if isinstance(supervisor, Ours):
        lost = WRITERS * lines - _indexed(supervisor, WRITERS * lines)
        table.add("log_indexed_mb_s", supervisor.name, _megabytes(lines) / (time.monotonic() - begun))
    used = supervisor.cpu_s() - used
    lost = max(lost, WRITERS * lines - sum(map(_lines, logs)))
    table.add("log_mb_s", supervisor.name, _megabytes(lines) / took)
    table.add("log_cpu_s_per_gb", supervisor.name, used / _megabytes(lines) * 1000)
    table.add("log_disk_mb", supervisor.name, sum(log.stat().st_blocks for log in logs) * 512 / 1e6)
    table.add("log_lost", supervisor.name, lost)


def holes(log: pathlib.Path) -> int:
    """How many numbered lines are missing between the first and the last in the file of one program."""
    numbers = [int(line[:10]) for line in log.read_bytes().rpartition(b"\n")[0].splitlines() if line[:10].isdigit()]
    return numbers[-1] - numbers[0] + 1 - len(numbers) if numbers else 0


def _megabytes(lines: int) -> float:
    return WRITERS * lines * LINE / 1e6


def _timed(go: pathlib.Path, logs: list[pathlib.Path], lines: int) -> float:
    """From the signal to the last byte in the files; to the last that came, when some never come."""
    begun = changed = time.monotonic()
    go.touch()
    now = before = 0
    while now < WRITERS * lines * LINE and time.monotonic() - changed < STUCK_S:
        time.sleep(LOOK_S)
        now = sum(map(size, logs))
        if now != before:
            before, changed = now, time.monotonic()
    return changed - begun


def size(log: pathlib.Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return os.stat(log).st_size  # noqa: PTH116 - often
    return 0


def _indexed(supervisor: Ours, wanted: int) -> int:
    """How many lines have a number once all have, or once nothing more comes."""
    found, changed = 0, time.monotonic()
    while found < wanted and time.monotonic() - changed < STUCK_S:
        time.sleep(LOOK_S)
        before, found = found, supervisor.indexed()
        if found != before:
            changed = time.monotonic()
    return found


def _lines(log: pathlib.Path) -> int:
    with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
    return 0
