"""The directories of a service: whose they are, and who may enter. Walked by descriptors, no link is ever followed.

Nothing below the data directory can be listed by an app. It may pass through what lies above its own release and home;
its releases it may read, its home is its own, and of the rest it sees nothing.
"""

import contextlib
import os
import pathlib
import stat
from collections.abc import Mapping

from node_agent.paths import Paths
from node_agent.supervisor.identities import Identity

OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PASSABLE, SHARED, OURS = 0o711, 0o710, 0o700
WORLD = 0o001
HOME = "home"


def obstacle(root: pathlib.Path) -> str:
    """The directory above the data directory that other users cannot enter; "" when there is none."""
    for parent in root.parents:
        if not parent.stat().st_mode & WORLD:
            return str(parent)
    return ""


def open_up(paths: Paths) -> None:
    """Let apps pass to their own; what else is in the data directory stays ours alone. Raises OSError."""
    top = os.open(paths.root, OPENING)
    try:
        os.fchmod(top, PASSABLE)
        _make(top, "services", 0, 0, PASSABLE)
        _make(top, "toolchains", 0, 0, 0o755)
    finally:
        os.close(top)


def settle(paths: Paths, service_id: str, identity: Identity) -> None:
    """Make the service's directories, or put them right. Raises OSError."""
    top = os.open(paths.service(service_id).parent, OPENING)
    try:
        own = _open(top, service_id, 0, identity.group, SHARED)
    finally:
        os.close(top)
    try:
        _make(own, "releases", 0, identity.group, SHARED)
        _make(own, "builds", 0, identity.group, SHARED)
        _make(own, "logs", 0, 0, OURS)
        _make(own, HOME, identity.app, identity.group, OURS)
        _make(own, paths.tmp(service_id).name, identity.app, identity.group, OURS)
        for place in (paths.build_home(service_id), paths.build_tmp(service_id)):
            _make(own, place.name, identity.build, identity.group, OURS)
    finally:
        os.close(own)


def owners(paths: Paths) -> Mapping[str, int]:
    """The owner of each service's home."""
    found = {}
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(paths.services):
            with contextlib.suppress(OSError):
                found[entry.name] = os.lstat(f"{entry.path}/{HOME}").st_uid
    return found


def gone(paths: Paths, service_id: str, identity: Identity) -> bool:
    """Is there neither a file of the service nor a process of its uids?"""
    return not os.path.lexists(paths.service(service_id)) and not _lives({identity.app, identity.build})


def _lives(uids: set[int]) -> bool:
    """A process whose real, effective, saved or file system uid is one of them."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - one string per process
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/status", "rb") as status:  # noqa: PTH123
                line = next((line for line in status if line.startswith(b"Uid:")), b"")
                if uids & {int(uid) for uid in line.split()[1:]}:
                    return True
    return False


def _make(parent: int, name: str, uid: int, gid: int, mode: int) -> None:
    os.close(_open(parent, name, uid, gid, mode))


def _open(parent: int, name: str, uid: int, gid: int, mode: int) -> int:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=parent)
    fd = os.open(name, OPENING, dir_fd=parent)
    try:
        known = os.fstat(fd)
        if (known.st_uid, known.st_gid) != (uid, gid):
            os.fchown(fd, uid, gid)
        if stat.S_IMODE(known.st_mode) != mode:
            os.fchmod(fd, mode)
    except OSError:
        os.close(fd)
        raise
    return fd
