"""Cages: what a process tree cannot leave, and what bounds it. The best rung of a ladder that this host has.

cgroup v2, else cgroup v1, else none; then trees are found by marker and descent, and a watchdog looks at their limits.
The supervisor starts one thing at a time, so it steps into a cage for the time of a spawn: what it starts is born inside.
"""

import contextlib
import dataclasses
import os
import pathlib
import zlib
from collections.abc import Iterator, Mapping
from typing import Protocol

from node_agent.model.process import Limits, Usage

CONTROLLERS = ("memory", "pids", "cpu")
LEAF = "supervisor"  # on v2 a group with limits below it holds no process itself, so we sit in this one beside them
NO_LIMITS = Limits()


class Cage(Protocol):
    """The cage of one process or job. Every method but `members` raises OSError."""

    def members(self) -> list[int]:
        """The pids of all that is in it, zombies apart; none when it does not exist."""
        ...

    def entered(self) -> contextlib.AbstractContextManager[None]:
        """What we start inside the block is in the cage, we ourselves are out of it afterwards."""
        ...

    def kill(self) -> None:
        """Kill every member; called again until none is left it ends also a tree that forks all the time."""
        ...

    def usage(self) -> Usage: ...

    def oom_kills(self) -> int:
        """How often the kernel killed a member for want of memory, since the cage was made."""
        ...

    def refused_forks(self) -> int:
        """How often a member could not start a process for its limit, since the cage was made; 0 where nobody counts it."""
        ...

    def remove(self) -> None:
        """Once it is empty. No-op when it is gone."""
        ...


class Cages(Protocol):
    """`limits` names what this rung enforces; `words` say which rung it is."""

    words: str
    limits: tuple[str, ...]

    def create(self, name: str, limits: Limits) -> Cage | None:
        """The cage of that name with these limits; one that is there already is used. None: no rung. Raises OSError."""
        ...

    def find(self, name: str) -> Cage | None: ...

    def names(self) -> list[str]:
        """Of every cage that there is."""
        ...

    def close(self) -> None:
        """Leave nothing behind, unless a cage is left; `create` begins anew. Raises nothing."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Places:
    """Where our own process sits: a directory per v1 controller, and that of v2 ("": not mounted)."""

    v1: Mapping[str, str]
    v2: str


def probe(own: str, mounts: str) -> Places:
    """What /proc/self/cgroup and /proc/self/mountinfo say. Pure."""
    paths: dict[str, str] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(","), path))
    v1: dict[str, str] = {}
    v2 = ""
    for root, point, kind, options in _mounts(mounts):
        if kind == "cgroup2" and "" in paths:
            v2 = v2 or _below(point, root, paths[""])
        elif kind == "cgroup":
            for name in set(options.split(",")) & set(CONTROLLERS) & set(paths):
                v1.setdefault(name, _below(point, root, paths[name]))
    return Places({name: v1[name] for name in CONTROLLERS if v1.get(name)}, v2)


def group_name(root: pathlib.Path) -> str:
    """Of the group that holds all cages of one data directory."""
    return f"dployr-{zlib.crc32(os.fsencode(root)):08x}"


class NoCages:
    """The lowest rung: no cage is ever made."""

    limits: tuple[str, ...] = ("memory", "pids")

    def __init__(self, why: str) -> None:
        self.words = f"watchdog: {why}"

    def create(self, name: str, limits: Limits) -> Cage | None:  # noqa: ARG002 - none is made for any
        return None

    def find(self, name: str) -> Cage | None:  # noqa: ARG002 - there is none of any name
        return None

    def names(self) -> list[str]:
        return []

    def close(self) -> None: ...


def _mounts(text: str) -> Iterator[tuple[str, str, str, str]]:
    """(root, mount point, file system, its options) of each line."""
    for line in text.splitlines():
        head, _, tail = line.partition(" - ")
        fields, (kind, _, options) = head.split(), tail.split(" ", 2)
        yield fields[3], fields[4], kind, options


def _below(point: str, root: str, path: str) -> str:
    """Where the group `path` is seen under a mount that shows the hierarchy from `root` on; "" when it is not."""
    inside = root.rstrip("/")
    if path != inside and not path.startswith(f"{inside}/"):
        return ""
    return (point + path[len(inside) :]).rstrip("/")
