"""`dployr down`: ends everything that `dployr up` started on a directory, and everything that outlived it."""

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

from dployr.errors import StackError
from dployr.stack import processes
from dployr.stack.daemons import CODE
from dployr.stack.directory import Directory

UP_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 120.0


def down(data_dir: pathlib.Path, say: Callable[[str], None]) -> None:
    """End `up`, agent, control plane, applications, nginx, supervisor; again is harmless. Raises StackError."""
    directory = Directory(data_dir)
    found = [_end_up(directory)]
    found += [processes.end_daemon("node_agent", directory.agent)]
    found += [processes.end_daemon("control_plane", directory.control_plane)]
    found += [_end_supervisor(directory)]
    say("everything is ended" if any(found) else f"nothing runs on {directory.root}")


def _end_up(directory: Directory) -> bool:
    """End the `dployr up` that holds the directory, by the lock that it holds."""
    pid = directory.owner()
    descriptor = processes.open_pidfd(pid) if pid else None
    if descriptor is None:
        return False
    try:
        if directory.owner() != pid:  # ended meanwhile: the pid may be a stranger's by now
            return False
        if not processes.end(descriptor, UP_TIMEOUT_S):
            raise StackError(f"cannot end `dployr up` (pid {pid}): it does not react; end it by hand")
    finally:
        os.close(descriptor)
    return True


def _end_supervisor(directory: Directory) -> bool:
    """Ask the supervisor to end what it owns and itself; it is the only one that may end applications."""
    if not directory.agent.exists():
        return False
    ran = processes.find("node_agent.supervisor", directory.agent) is not None
    command = [sys.executable, "-m", "node_agent.supervisor", "shutdown", "--data-dir", str(directory.agent)]
    try:
        done = subprocess.run(
            command, cwd=CODE, capture_output=True, text=True, timeout=SHUTDOWN_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise StackError(
            f"cannot end the applications within {SHUTDOWN_TIMEOUT_S:.0f} s; run `dployr down` again"
        ) from None
    if done.returncode != 0:
        raise StackError(f"cannot end the supervisor of {directory.agent}: {done.stderr.strip() or done.returncode}")
    return ran
