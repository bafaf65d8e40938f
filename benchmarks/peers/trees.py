"""runit and s6: a directory per program, a small supervisor and a logger for each, and a pipe that takes commands."""

import abc
import pathlib
import shlex

from benchmarks.peers import install
from benchmarks.peers.base import Supervisor
from tests.waiting import wait_until

UP_S = 60.0
# s6 names its programs by the paths of the package: in a view of its own they are where it expects them.
IN_PLACE = 'mount -t overlay -o lowerdir="$0:/usr/bin" none /usr/bin && exec s6-svscan -c 2000 "$1"'


class Tree(Supervisor):
    """Services are down until `u` is written into their pipe; after that a restarted scanner starts them itself."""

    prefix = ""
    helpers = 0  # processes beside each program

    @property
    def services(self) -> pathlib.Path:
        return self.directory / "services"

    @abc.abstractmethod
    def logger(self, name: str) -> str:
        """The command that takes the output of the program."""

    def configure(self) -> None:
        for name, words in self.programs.items():
            service = self.services / name
            (service / "log").mkdir(parents=True)
            (service / "down").touch()
            self._script(service / "run", f"exec {self.prefix}{shlex.join(words)} 2>&1")
            self._script(service / "log" / "run", f"exec {self.logger(name)}")
        self.services.mkdir(exist_ok=True)

    @staticmethod
    def _script(path: pathlib.Path, line: str) -> None:
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)

    def wait_up(self) -> None:
        controls = [
            self.services / name / part / "supervise" / "control" for name in self.programs for part in ("", "log")
        ]
        wait_until(lambda: all(control.exists() for control in controls), UP_S, f"the pipes of {self.name}")
        wait_until(
            lambda: len(self.own()) >= 1 + self.helpers * len(self.programs), UP_S, f"the loggers of {self.name}"
        )

    def start(self) -> None:
        for name in self.programs:
            (self.services / name / "supervise" / "control").write_bytes(b"u")
        for name in self.programs:
            (self.services / name / "down").unlink()

    def run_again(self) -> None:
        self.run()


class Runit(Tree):
    name = "runit"
    helpers = 2  # runsv, svlogd

    def logger(self, name: str) -> str:
        directory = self.directory / "logs" / name
        directory.mkdir()
        (directory / "config").write_text("s0\n")  # never rotate
        return f"{self.tools.runit}/svlogd {directory}"

    def log(self, name: str) -> pathlib.Path:
        return self.directory / "logs" / name / "current"

    def run(self) -> None:
        self.popen(f"{self.tools.runit}/runsvdir", str(self.services), PATH=f"{self.tools.runit}:/usr/bin:/bin")
        self.wait_up()


class RunitAsNobody(Runit):
    """The programs give up root first: what a host does that runs the programs of others."""

    name = "runit, chpst -u"

    @property
    def prefix(self) -> str:  # type: ignore[override]
        return f"{self.tools.runit}/chpst -u nobody:nogroup "


class S6(Tree):
    name = "s6"
    helpers = 3  # s6-supervise for each of program and logger, s6-log

    def logger(self, name: str) -> str:
        return f"{self.tools.s6}/s6-log n2 s268435455 {self.directory / 'logs' / name}"

    def log(self, name: str) -> pathlib.Path:
        return self.directory / "logs" / name / "current"

    def run(self) -> None:
        assert self.tools.s6 is not None
        path = {"PATH": f"{self.tools.s6}:/usr/bin:/bin", "LD_LIBRARY_PATH": install.library_path(self.tools.s6)}
        self.popen("unshare", "--mount", "/bin/sh", "-c", IN_PLACE, str(self.tools.s6), str(self.services), **path)
        self.wait_up()
