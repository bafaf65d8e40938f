"""All supervisors that can be had here, run one after the other or all at once."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

from benchmarks.peers import daemons, install, ours, trees
from benchmarks.peers.base import Programs, Supervisor

Kind = type[Supervisor]
Named = Callable[[Supervisor], Programs]


class Field:
    """Each supervisor that runs has a directory of its own below `directory`, and leaves nothing."""

    def __init__(self, directory: pathlib.Path, tools: install.Tools) -> None:
        self.directory, self.tools = directory, tools
        self.kinds: list[Kind] = [ours.Ours]
        self.kinds += [daemons.Supervisord, daemons.Circus] if tools.python else []
        self.kinds += [daemons.Pm2] if tools.pm2 else []
        self.kinds += [trees.Runit] if tools.runit else []
        self.kinds += [trees.S6] if tools.s6 else []

    def each(self, what: str, programs: Named, do: Callable[[Supervisor], None]) -> None:
        """Every supervisor in turn."""
        for kind in self.kinds:
            self.one(kind, what, programs, do)

    def one(self, kind: Kind, what: str, programs: Named, do: Callable[[Supervisor], None]) -> None:
        """From up to down; a peer that cannot do it is said."""
        try:
            with self._up(kind, programs) as supervisor:
                do(supervisor)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            if kind is ours.Ours:
                raise
            print(f"    {kind.name}: no {what}: {error}")

    @contextlib.contextmanager
    def all(self, programs: Named) -> Iterator[list[Supervisor]]:
        """All at once, and runit a second time: its programs give up root as ours do."""
        as_nobody = [trees.RunitAsNobody] if self.tools.runit and os.geteuid() == 0 else []
        with contextlib.ExitStack() as stack:
            yield [stack.enter_context(self._up(kind, programs)) for kind in (*self.kinds, *as_nobody)]

    @contextlib.contextmanager
    def _up(self, kind: Kind, programs: Named) -> Iterator[Supervisor]:
        supervisor = kind(self.directory / f"{kind.__name__}-{time.monotonic_ns()}", self.tools)
        try:
            supervisor.up(programs(supervisor))
            yield supervisor
        finally:
            supervisor.down()
            shutil.rmtree(supervisor.directory)
