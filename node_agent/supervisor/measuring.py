"""What uses the disk, counted by a program of its own: the loop never walks through a tree."""

import contextlib
import os
import pathlib
import signal
import sys
from collections.abc import Callable

from node_agent.supervisor import launch, spawn
from node_agent.supervisor.children import End
from node_agent.supervisor.host import Host, RefusedError

PROGRAM = pathlib.Path(__file__).with_name("measure.py")
TIMEOUT_S = 300.0
LONGEST = 8 << 20


class Measuring:
    """`measure` as often as it is asked for: the agent asks once at a time."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def measure(self, service_id: str, done: Callable[[str], None], failed: Callable[[str], None]) -> None:
        """`done` with what the program says of the service, or of all when there is none. Raises RefusedError."""
        said = os.memfd_create("measured")
        try:
            pid = spawn.spawn(self._launch(service_id), said)
        except (launch.StartError, OSError) as error:
            os.close(said)
            raise RefusedError(f"cannot measure the disk: {error}") from error
        timer = self._host.loop.later(TIMEOUT_S, lambda: _kill(pid))

        def ended(end: End) -> None:
            timer.cancel()
            text = os.pread(said, LONGEST, 0).decode(errors="replace")
            os.close(said)
            if end.status == 0:
                done(text)
            else:
                failed(f"cannot measure the disk: the program that does it {end}; {text[-200:]}")

        self._host.children.expect(pid, ended)

    def _launch(self, service_id: str) -> launch.Launch:
        root = self._host.paths.root
        argv = (sys.executable, "-I", "-S", str(PROGRAM), str(root), *([service_id] if service_id else []))
        return launch.Launch(argv, {"HOME": "/", "PATH": launch.BASE_PATH}, root, ".", launch.NOWHERE, launch.NOWHERE)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
