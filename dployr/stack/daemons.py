"""One daemon of the stack: started, found again, watched through its pidfd, restarted with back-off, ended."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import dployr
from dployr.errors import StackError
from dployr.stack import processes
from dployr.stack.directory import Directory

BACKOFF_FIRST_S = 0.25
BACKOFF_LAST_S = 15.0
STEADY_S = 60.0  # a daemon that lived this long is forgiven its deaths
NOT_THEIRS = ("DPLOYR_SERVER", "DPLOYR_TOKEN")  # settings of the command line, not of daemons
CODE = pathlib.Path(dployr.__file__).resolve().parent.parent  # the first place where `-m` looks


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """What to run: `python -m module run --data-dir data_dir …`."""

    name: str
    module: str
    data_dir: pathlib.Path
    options: tuple[str, ...] = ()

    def command(self) -> list[str]:
        return [sys.executable, *processes.daemon_arguments(self.module, self.data_dir), *self.options]


class Daemon:
    """The one process of a program. `now` is a monotonic time in seconds everywhere."""

    def __init__(self, program: Program, directory: Directory) -> None:
        self.program = program
        self.deaths = 0
        self.exit_code: int | None = None
        self.due: float | None = None  # when to start it again
        self._directory = directory
        self._pidfd: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0.0

    def adopt(self, now: float) -> bool:
        """Take over one that runs already; whether there is one."""
        pid = processes.find(self.program.module, self.program.data_dir)
        self._pidfd = processes.open_pidfd(pid) if pid else None
        self._started = now
        return self._pidfd is not None

    def start(self, now: float) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches `up` alone. Raises StackError."""
        self.due = None
        environment = {key: value for key, value in os.environ.items() if key not in NOT_THEIRS}
        try:
            with self._directory.open_log(self.program.name) as log:
                self._child = subprocess.Popen(
                    self.program.command(),
                    cwd=CODE,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise StackError(f"cannot start the {self.program.name}: {error}") from error
        self._pidfd = os.pidfd_open(self._child.pid)
        self._started = now

    def watched(self) -> list[int]:
        """The descriptor that tells of its end, while it runs."""
        return [] if self._pidfd is None else [self._pidfd]

    def notice_end(self, now: float) -> bool:
        """Whether it ended since the last look; then `due` says when to start it again."""
        if self._pidfd is None or not processes.is_gone(self._pidfd):
            return False
        self.deaths = 1 if now - self._started > STEADY_S else self.deaths + 1
        self.due = now + min(BACKOFF_LAST_S, BACKOFF_FIRST_S * 2 ** (self.deaths - 1))
        self._forget()
        return True

    def end(self) -> None:
        """End it and wait for it."""
        self.due = None
        if self._pidfd is not None:
            processes.end(self._pidfd)
            self._forget()

    def release(self) -> None:
        """Let it run on without us."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._child is not None:
            self._child.returncode = 0  # it outlives us on purpose: Popen must not warn about that
            self._child = None

    def _forget(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._child is not None:
            self.exit_code = self._child.wait(processes.KILL_TIMEOUT_S)
            self._child = None
