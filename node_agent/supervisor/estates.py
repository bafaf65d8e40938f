"""The directories of a service: whose they are, and who may enter. Walked by descriptors, no link is ever followed.

Nothing below the data directory can be listed by an app. It may pass through what lies above its own release and home;
its releases it may read, its home is its own, and of the rest it sees nothing.
"""

import contextlib
import errno
import os
import pathlib
import stat
from collections.abc import Collection, Iterator, Mapping

import failpoints
from node_agent import atomic
from node_agent.model import log_index
from node_agent.paths import Paths
from node_agent.supervisor.identities import Household, Identity, User

OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PASSABLE, READABLE, SHARED, OURS = 0o711, 0o750, 0o710, 0o700
WORLD = 0o001
HOME = "home"


def obstacle(root: pathlib.Path) -> str:
    """The directory above the data directory that other users cannot enter; "" when there is none."""
    for parent in root.parents:
        if not parent.stat().st_mode & WORLD:
            return str(parent)
    return ""


def open_up(paths: Paths, household: Household) -> None:
    """Give everybody their places in the data directory, and let apps pass to their own. Raises OSError."""
    agent, proxy = household.agent, household.proxy or household.agent
    top = os.open(paths.root, OPENING)
    try:
        os.fchmod(top, PASSABLE)
        _make(top, paths.services.name, 0, 0, PASSABLE)
        for place in (paths.own, paths.archives, paths.cache, paths.runs, paths.trash):
            _make_whole(top, place.name, agent.uid, agent.gid, OURS)
        _make_whole(top, paths.toolchains.name, agent.uid, agent.gid, 0o755)
        _make_whole(top, paths.proxy.name, agent.uid, agent.gid, PASSABLE)
        _make(top, paths.nginx.parent.name, 0, 0, PASSABLE)
        beside = os.open(paths.nginx.parent.name, OPENING, dir_fd=top)
    finally:
        os.close(top)
    try:
        _make(beside, paths.nginx.name, proxy.uid, agent.gid, SHARED)
    finally:
        os.close(beside)


@failpoints.around("service.settle")
def settle(paths: Paths, service_id: str, identity: Identity, household: Household) -> None:
    """Make the service's directories, or put them right. Raises OSError.

    The agent passes to what it fills, releases and builds, and to the logs that it reads. Releases may be passed by all:
    the tree in each is for the group that may read it.
    """
    agent = household.agent
    own = _enter(paths, service_id, identity.group)
    try:
        _make_whole(own, "releases", agent.uid, identity.group, PASSABLE)
        _make(own, "builds", agent.uid, identity.group, SHARED)
        _make_logs(own, paths.log_index(service_id).name, agent)
        _make(own, HOME, identity.app, identity.group, OURS)
        _make(own, paths.tmp(service_id).name, identity.app, identity.group, OURS)
        for place in (paths.build_home(service_id), paths.build_tmp(service_id)):
            _make(own, place.name, identity.build, identity.group, OURS)
    finally:
        os.close(own)


@failpoints.around("volumes.make")
def make_volumes(paths: Paths, service_id: str, names: Collection[str], identity: Identity) -> None:
    """Those that are not there yet, for the service's processes alone; what is in them is theirs. Raises OSError.

    The service's directories are there. Nobody but we can change what a name of a volume stands for.
    """
    with _volumes(paths, service_id, identity) as kept:
        for name in names:
            recover_volume(paths, service_id, name)
            _make_whole(kept, paths.volume(service_id, name).name, identity.app, identity.group, OURS)


def make_draft(paths: Paths, service_id: str, name: str, identity: Identity) -> None:
    """An empty directory that a volume is restored into. Raises OSError; FileExistsError when a former one is left."""
    with _volumes(paths, service_id, identity) as kept:
        draft = paths.volume_draft(service_id, name).name
        os.mkdir(draft, 0o700, dir_fd=kept)
        _make(kept, draft, identity.app, identity.group, OURS)


def swap_volume(paths: Paths, service_id: str, name: str) -> None:
    """Put what was restored in the place of the volume, by two renames; the volume of before is the former one then.

    Cut off between the two, `recover_volume` takes the first one back. Raises OSError.
    """
    volume = paths.volume(service_id, name)
    volume.rename(paths.volume_former(service_id, name))
    try:
        paths.volume_draft(service_id, name).rename(volume)
    except OSError:
        recover_volume(paths, service_id, name)
        raise
    atomic.flush_directory(volume.parent)


def recover_volume(paths: Paths, service_id: str, name: str) -> None:
    """A volume that a swap took away and did not bring back comes back. Raises OSError."""
    volume, former = paths.volume(service_id, name), paths.volume_former(service_id, name)
    if not os.path.lexists(volume) and os.path.lexists(former):
        former.rename(volume)


@contextlib.contextmanager
def _volumes(paths: Paths, service_id: str, identity: Identity) -> Iterator[int]:
    """Where they lie, open; in it only we can change what a name stands for."""
    own = os.open(paths.service(service_id), OPENING)
    try:
        kept = _open(own, paths.volumes(service_id).name, 0, identity.group, SHARED)
    finally:
        os.close(own)
    try:
        yield kept
    finally:
        os.close(kept)


def open_build_log(paths: Paths, service_id: str, release: int, household: Household) -> None:
    """The log that the agent begins and the build goes on with; the service's directories are there. Raises OSError."""
    logs = os.open(paths.logs(service_id), OPENING)
    try:
        name = paths.log_file(service_id, "build", release, "stdout").name
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        log = os.open(name, flags, 0o640, dir_fd=logs)
    finally:
        os.close(logs)
    try:
        os.fchown(log, household.agent.uid, -1)
    finally:
        os.close(log)


def open_generation(paths: Paths, generation: int, household: Household) -> None:
    """A generation of the proxy's configuration becomes nginx's to read. Refused unless it is the agent's. Raises OSError."""
    if household.proxy is None:
        return
    found = os.open(paths.proxy, OPENING)
    try:
        for name in ("generations", str(int(generation))):
            below = os.open(name, OPENING, dir_fd=found)
            os.close(found)
            found = below
        if os.fstat(found).st_uid != household.agent.uid:
            raise PermissionError(errno.EPERM, "this generation is not the agent's")
        os.fchown(found, -1, household.proxy.gid)
        os.fchmod(found, READABLE)
    finally:
        os.close(found)


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


def _enter(paths: Paths, service_id: str, group: int) -> int:
    top = os.open(paths.services, OPENING)
    try:
        return _open(top, paths.service(service_id).name, 0, group, PASSABLE)
    finally:
        os.close(top)


def _make_whole(parent: int, name: str, uid: int, gid: int, mode: int) -> None:
    """With what is in it of whoever had it until now: an agent that was root, or another user. Goes on where it was cut off:
    the directory itself comes last. What builds made is theirs, and not looked into.
    """
    with contextlib.suppress(FileNotFoundError):
        was = os.stat(name, dir_fd=parent, follow_symlinks=False).st_uid
        if was != uid:
            try:
                _hand_on(parent, name, was, uid)
            except RecursionError as error:
                raise OSError(errno.ELOOP, "nested too deeply", name) from error
    _make(parent, name, uid, gid, mode)


def _hand_on(parent: int, name: str, was: int, uid: int) -> None:
    def fail(error: OSError) -> None:
        raise error

    for _, directories, files, fd in os.fwalk(name, onerror=fail, follow_symlinks=False, dir_fd=parent):
        owners = {entry: os.stat(entry, dir_fd=fd, follow_symlinks=False).st_uid for entry in (*directories, *files)}
        for entry in [entry for entry, owner in owners.items() if owner == was]:
            os.chown(entry, uid, -1, dir_fd=fd, follow_symlinks=False)
        directories[:] = [entry for entry in directories if owners[entry] in {was, uid}]


def _make_logs(parent: int, index: str, agent: User) -> None:
    """Ours, for the agent to read; so are the raw files and the index of a former version, or of another user of the agent."""
    logs = _open(parent, "logs", 0, agent.gid, READABLE)
    try:
        for name in os.listdir(logs) if agent.uid else ():  # noqa: PTH208 - by its descriptor
            known = os.stat(name, dir_fd=logs, follow_symlinks=False)
            is_readable = known.st_gid == agent.gid and known.st_mode & 0o040
            if name == index and not is_readable:
                os.chown(name, -1, agent.gid, dir_fd=logs, follow_symlinks=False)
                os.chmod(name, 0o640, dir_fd=logs)
            elif log_index.parse_file_name(name) and not is_readable:
                os.chown(name, agent.uid, -1, dir_fd=logs, follow_symlinks=False)
    finally:
        os.close(logs)


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
