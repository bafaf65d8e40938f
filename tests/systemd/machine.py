"""A host of a test's own: a real systemd as PID 1, in namespaces, on an overlay of this machine's files.

What it writes is gone when it is off, but for the directories given as `shared`. tests/tools/sdhost makes it.
"""

import concurrent.futures
import contextlib
import ctypes
import os
import pathlib
import secrets
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest

from tests.waiting import wait_until

TOOLS = pathlib.Path(__file__).resolve().parents[1] / "tools"
CANNOT = 2
CLONE_NEWNET = 0x40000000
UP = {"running", "degraded"}
T = TypeVar("T")


class Machine:
    """`boot`, `power_off`, and `boot` again: the name and the shared directories stay, all else is new."""

    def __init__(self, directory: pathlib.Path, shared: Mapping[pathlib.Path, str]) -> None:
        self.name = f"t{secrets.token_hex(4)}"
        self._said = directory / "machine.log"
        self._state = directory / "run"
        binds = " ".join(f"{here}:{there}" for here, there in shared.items())
        self._environment = {**os.environ, "SDHOST_RUN": str(self._state), "SDHOST_BIND": binds}
        self._process: subprocess.Popen[bytes] | None = None
        self._network: concurrent.futures.ThreadPoolExecutor | None = None

    def boot(self) -> None:
        """Return when systemd has started everything. Skips the test where no such host can be made."""
        with self._said.open("ab") as said:
            command = [TOOLS / "sdhost", self.name]
            self._process = subprocess.Popen(command, env=self._environment, stdout=said, stderr=said)
        wait_until(self._is_up, 60, f"the start of {self.name} ({self._said})")
        pid = (self._state / self.name / "leader").read_text().split()[0]
        self._network = concurrent.futures.ThreadPoolExecutor(16, initializer=_enter_network, initargs=(pid,))

    def _is_up(self) -> bool:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            said = self._said.read_text()
            if code == CANNOT:
                pytest.skip(f"this machine cannot make a host with systemd: {said}")
            raise AssertionError(f"the host ended with {code}: {said}")
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in UP

    def power_off(self) -> None:
        """In order, as a shutdown does; by force when that takes too long. No-op when it is off."""
        if self._network is not None:
            self._network.shutdown()
            self._network = None
        if self._process is not None:
            subprocess.run([TOOLS / "sdhost", "--down", self.name], env=self._environment, check=True, timeout=60)
            self._process.wait(30)
            self._process = None

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command as the host's root."""
        argv = [TOOLS / "sdin", self.name, *command]
        done = subprocess.run(
            argv,
            env=self._environment,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
        return done

    def inside(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call something in the host's network; threads that it starts are there as well."""
        assert self._network is not None
        return self._network.submit(work, *arguments, **named).result()

    # systemd

    def property(self, unit: str, name: str) -> str:
        return self.run("systemctl", "show", "--value", f"--property={name}", unit).stdout.strip()

    def main_pid(self, unit: str) -> int:
        """0 when it does not run."""
        return int(self.property(unit, "MainPID"))

    def journal(self, unit: str) -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", "--unit", unit).stdout


def _enter_network(pid: str) -> None:
    """For the calling thread alone."""
    with contextlib.closing(os.fdopen(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))) as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns is refused")
