"""What process trees use, all of them in one pass over the host. Processes vanish while we look; that is no error."""

import os
from collections.abc import Collection, Mapping

import psutil

from node_agent.metrics.reading import Tree


def read(roots: Collection[int]) -> dict[int, Tree]:
    """Root pid to what its tree uses; a root that is gone is left out."""
    if not roots:
        return {}
    found = {process.pid: process for process in psutil.process_iter(["ppid"])}
    parents = {pid: process.info["ppid"] or 0 for pid, process in found.items()}
    owners = members(roots, parents, {pid: _session(pid) for pid in found})
    parts: dict[int, list[Tree]] = {}
    for pid, root in owners.items():
        part = _look(found[pid])
        if part is not None:
            parts.setdefault(root, []).append(part)
    return {root: together(trees) for root, trees in parts.items()}


def members(roots: Collection[int], parents: Mapping[int, int], sessions: Mapping[int, int]) -> dict[int, int]:
    """pid to the root that it belongs to: by descent, or by session when its parent ended before it. Pure."""
    owners: dict[int, int | None] = {root: root for root in roots if root in parents}
    for pid in parents:
        _owner(pid, parents, sessions, owners)
    return {pid: root for pid, root in owners.items() if root is not None}


def _owner(pid: int, parents: Mapping[int, int], sessions: Mapping[int, int], owners: dict[int, int | None]) -> None:
    """Climb until somebody's owner is known, then note it for everyone on the way."""
    way: list[int] = []
    climbing = pid
    while climbing in parents and climbing not in owners and climbing not in way:
        way.append(climbing)
        session = sessions.get(climbing, 0)
        climbing = session if owners.get(session) == session else parents[climbing]
    owner = owners.get(climbing)
    owners.update(dict.fromkeys(way, owner))


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0


def _look(process: psutil.Process) -> Tree | None:
    try:
        with process.oneshot():
            times = process.cpu_times()
            seconds = times.user + times.system + times.children_user + times.children_system
            return Tree(seconds, process.memory_info().rss, process.num_threads(), _fds(process), 1)
    except (psutil.Error, OSError):
        return None


def _fds(process: psutil.Process) -> int | None:
    try:
        return process.num_fds()
    except (psutil.AccessDenied, PermissionError):
        return None


def together(trees: list[Tree]) -> Tree:
    readable = [tree.fds for tree in trees if tree.fds is not None]
    return Tree(
        cpu_seconds=sum(tree.cpu_seconds for tree in trees),
        rss_bytes=sum(tree.rss_bytes for tree in trees),
        threads=sum(tree.threads for tree in trees),
        fds=sum(readable) if readable else None,
        processes=sum(tree.processes for tree in trees),
    )
