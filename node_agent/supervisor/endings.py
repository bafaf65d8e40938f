"""Ending whole process trees: ask once, wait, then kill again and again until nothing of the tree is left.

A process group is not enough. What forked, made a session of its own and ignores SIGTERM is still in its cage; where
there is none, it is found by its marker and by descent, and all such endings share one look at /proc per round. None
of them blocks the loop.
"""

import contextlib
import dataclasses
import functools
import os
import signal
from collections.abc import Callable

from node_agent.clock import Clock
from node_agent.supervisor import procfs
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.loop import Loop, Timer, note

FIRST_LOOK_S, SLOWEST_LOOK_S = 0.01, 0.25
ORPHANS_S = 0.001


@dataclasses.dataclass(slots=True)
class _Ending:
    marker: str
    cage: Cage | None
    leader: int
    deadline: float
    gone: list[Callable[[], None]]


class Endings:
    """`begin` one per marker; a second one for the same marker joins the first and may only shorten its grace."""

    def __init__(self, loop: Loop, clock: Clock, root: str, reap: Callable[[], None]) -> None:
        self._loop, self._clock, self._root, self._reap = loop, clock, root, reap
        self._endings: dict[str, _Ending] = {}
        self._timer: Timer | None = None
        self._pause_s = FIRST_LOOK_S

    def begin(
        self, marker: str, leader: int, grace_s: float, gone: Callable[[], None], cage: Cage | None = None
    ) -> None:
        """Call `gone` when nothing of the tree is left, at once when its cage is empty; kill it after `grace_s`.

        `leader`: pid of its session or 0.
        """
        deadline = self._clock.monotonic() + grace_s
        ending = self._endings.get(marker)
        if ending is None:
            ending = self._endings[marker] = _Ending(marker, cage, leader, deadline, [])
        ending.leader = ending.leader or leader
        ending.deadline = min(ending.deadline, deadline)
        ending.gone.append(gone)
        self.check(marker)

    def check(self, marker: str) -> None:
        """Look at this one: it has just begun, or its main process ended."""
        ending = self._endings.get(marker)
        if ending is not None and ending.cage is not None and not ending.cage.members():
            self._finish(ending)
        else:
            self.hurry()

    def hurry(self, delay_s: float = 0.0) -> None:
        """Look soon: something ended, or began to."""
        if self._endings:
            self._pause_s = FIRST_LOOK_S
            self._schedule(delay_s)

    def orphan_ended(self) -> None:
        """Often many at once, whose ends are one look."""
        if (
            self._timer is None
            or self._timer.callback is None
            or self._timer.when > self._clock.monotonic() + ORPHANS_S
        ):
            self.hurry(ORPHANS_S)

    def _schedule(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.later(delay_s, self._look)

    def _look(self) -> None:
        self._reap()  # an exit is told before the end of its tree
        now = self._clock.monotonic()
        uncaged = any(ending.cage is None for ending in self._endings.values())
        snapshot = procfs.take_snapshot(self._root) if uncaged else procfs.Snapshot({})
        for ending in tuple(self._endings.values()):
            if ending.cage is not None:
                kill, left = ending.cage.kill, bool(ending.cage.members())
            else:
                tree = snapshot.tree(ending.marker, ending.leader)
                kill, left = functools.partial(_kill, tree), bool(tree)
            if left and now >= ending.deadline:
                self._kill(ending, kill)
            elif not left and self._endings.get(ending.marker) is ending:
                self._finish(ending)
        if self._endings:
            self._pause_s = min(SLOWEST_LOOK_S, self._pause_s * 1.5)
            soonest = min(ending.deadline for ending in self._endings.values()) - now
            self._schedule(min(self._pause_s, soonest) if soonest > 0 else self._pause_s)

    def _finish(self, ending: _Ending) -> None:
        del self._endings[ending.marker]
        for gone in ending.gone:  # at once: nothing may begin a successor in between
            self._loop.guarded(gone)

    def _kill(self, ending: _Ending, kill: Callable[[], None]) -> None:
        if ending.deadline:
            ending.deadline = 0.0
            self._pause_s = FIRST_LOOK_S
        try:
            kill()
        except OSError as error:  # the next look tries again
            note("tree.not_killed", id=ending.marker, error=error)


def _kill(tree: list[procfs.Member]) -> None:
    for member in sorted(tree, key=procfs.seniority):  # a shell before it can tell of its child
        with contextlib.suppress(OSError):  # not ours to kill: it shows again in the next look
            procfs.kill(member.pid, member.started)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Send a signal to the group of a process of ours that is known to live. No-op when it just ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        group = os.getpgid(pid)
        if group != os.getpgrp():
            os.killpg(group, number)
