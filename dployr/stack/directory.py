"""The data directory of the stack: its lock, its ports, its logs, the first password. Everything in it is private.

Run by root, it lets others pass (not look): apps have users of their own then, and their files are below.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import IO

from dployr import atomic
from dployr.errors import StackError
from dployr.stack import addresses

LOG_LIMIT = 10 << 20
TAIL_BYTES = 4000
TAIL_LINES = 15


class Directory:
    """Paths below one data directory, which belongs to one `dployr up` at a time."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root.absolute()
        self.agent = self.root / "agent"
        self.control_plane = self.root / "control-plane"
        self.database = self.control_plane / "control-plane.db"
        self.logs = self.root / "logs"
        self.join_token = self.root / "join-token"
        self.password = self.root / "admin-password"
        self._ports = self.root / "up.json"
        self._lock = self.root / "up.lock"

    def make(self) -> None:
        """Create what is missing, readable by its owner alone. Raises StackError."""
        try:
            for path in (self.root, self.agent, self.control_plane, self.logs):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.root.chmod(0o700 if os.geteuid() else 0o711)
        except OSError as error:
            raise StackError(f"cannot use the data directory {self.root}: {error}; give another --data-dir") from error

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the directory; StackError when another `dployr up` does."""
        with self._lock.open("a+", encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"cannot start: another `dployr up` (pid {_pid(file)}) runs on {self.root}; end it, or give another --data-dir"
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def owner(self) -> int | None:
        """The pid of the `dployr up` that holds the directory; None when nobody does."""
        try:
            file = self._lock.open("r+", encoding="ascii")
        except FileNotFoundError:
            return None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _pid(file)
        return None

    def ports(self) -> tuple[int, int]:
        """The ports of hub and enrolment: chosen once, because the agent remembers them."""
        try:
            known = json.loads(self._ports.read_text(encoding="utf-8"))
            return int(known["hub"]), int(known["enrol"])
        except FileNotFoundError:
            hub = enrol = addresses.free_port()
            while enrol == hub:
                enrol = addresses.free_port()
            atomic.write_private(self._ports, json.dumps({"hub": hub, "enrol": enrol}) + "\n")
            return hub, enrol
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StackError(f"cannot read {self._ports} ({error}); remove it, and start again") from error

    def new_password(self) -> str | None:
        """A password for the first admin, made once; None when there is one already or was an earlier start."""
        if self.password.exists() or self.database.exists():
            return None
        password = secrets.token_urlsafe(15)
        atomic.write_private(self.password, password + "\n")
        return password

    def open_log(self, name: str) -> IO[bytes]:
        """The log of one daemon, to be appended to; a long one is moved aside first."""
        path = self.logs / f"{name}.log"
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size > LOG_LIMIT:
                path.replace(path.with_suffix(".log.1"))
        return path.open("ab")

    def log_tail(self, name: str) -> list[str]:
        """The last lines of a daemon's log."""
        try:
            with (self.logs / f"{name}.log").open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-TAIL_LINES:]
        except FileNotFoundError:
            return []


def _pid(file: IO[str]) -> int:
    file.seek(0)
    text = file.read()
    return int(text) if text.isdigit() else 0
