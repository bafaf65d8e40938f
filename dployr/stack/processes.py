"""Finds and ends our own daemons: by what they were started as, never by a remembered pid alone.

A process is held by a pidfd, taken first and checked afterwards, so that no signal ever reaches a stranger.
"""

import contextlib
import os
import pathlib
import select
import signal
from collections.abc import Iterator

TERM_TIMEOUT_S = 25.0
KILL_TIMEOUT_S = 10.0


def daemon_arguments(module: str, data_dir: pathlib.Path) -> list[str]:
    """The arguments that every daemon of ours has in its command line; its identity."""
    return ["-m", module, "run", "--data-dir", str(data_dir)]


def find(module: str, data_dir: pathlib.Path) -> int | None:
    """The pid of that daemon on that directory, None when it does not run."""
    wanted = daemon_arguments(module, data_dir)
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and _contains(_command_line(int(entry.name)), wanted):
            return int(entry.name)
    return None


def _contains(words: list[str], wanted: list[str]) -> bool:
    """In one piece; before it stand the interpreter and what it is told."""
    return any(words[at : at + len(wanted)] == wanted for at in range(1, len(words)))


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    descriptor = open_pidfd(pid)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def open_pidfd(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None when there is no such process."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def is_gone(descriptor: int, timeout: float = 0.0) -> bool:
    """Whether the process ended, or does so within `timeout` seconds."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def end(descriptor: int, timeout: float = TERM_TIMEOUT_S) -> bool:
    """SIGTERM, then SIGKILL after `timeout` seconds; whether it is gone."""
    for number, patience in ((signal.SIGTERM, timeout), (signal.SIGKILL, KILL_TIMEOUT_S)):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        if is_gone(descriptor, patience):
            return True
    return False


def end_daemon(module: str, data_dir: pathlib.Path) -> bool:
    """End that daemon wherever it came from; whether there was one."""
    pid = find(module, data_dir)
    if pid is None:
        return False
    with _held(pid) as descriptor:
        if descriptor is not None and find(module, data_dir) == pid:  # still the same one, now that we hold it
            end(descriptor)
    return True


def mentions(word: str, program: str) -> bool:
    """Whether a process whose command line begins with `program` names `word` in it."""
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            line = " ".join(_command_line(int(entry.name)))
            if line.startswith(program) and word in line:
                return True
    return False


def _command_line(pid: int) -> list[str]:
    try:
        text = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return text.decode(errors="surrogateescape").rstrip("\0").split("\0")
