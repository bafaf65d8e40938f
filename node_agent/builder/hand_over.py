"""Gives the tree in the current directory to the user of the service's builds, or takes it back from there.

A program of its own that the supervisor runs as root, when no process of the build is left or before one begins:
`hand_over.py open_build|seal_release BUILD AGENT GROUP [READERS]`. It imports nothing of ours. Exit status 0: done; 2: refused, with
one sentence on its last line.

Whoever owns a directory may swap what is in it while we walk. So every directory is entered by its descriptor, one real
one after the other, no link is followed, and only what is the build's or the agent's changes its owner. What somebody
opened before goes on for them, whoever owns it then: so nothing is sealed that is open to write.
"""

import errno
import fcntl
import os
import stat
import struct
import sys
import time
from collections.abc import Iterator

REFUSED = 2
OPENING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SEAL = "seal_release"
TOP = "."
LIST = "system.posix_acl_access"
LIST_VERSION = struct.pack("<I", 2)
OWNER, OWNERS_GROUP, GROUP, MOST, OTHERS = 1, 4, 8, 16, 32  # whom a row of such a list is about
NOBODY = 0xFFFFFFFF  # in rows that name no group
PROBE = ".dployr-lease"
LOOKS, LOOK_S = 50, 0.02  # what was killed is closed a little later where the kernel still works for it


class RefusedError(Exception):
    """The tree holds what must not change its owner."""


def seal(build: int, agent: int, group: int, readers: int = 0) -> None:
    """All of it the agent's, for the group to read; what could be run can be run. From the top down: so nobody else can
    get at what is taken already. A second name of what was sealed for the group before is one of an earlier release's.

    `readers`: another group that may read it. Both may pass the top, and below that everybody reads who got there. On a
    file system without lists of access it has the place of the first.
    """
    is_for_both = bool(readers) and _let_in({build, agent}, readers)
    if readers and not is_for_both:
        group = readers
    taken: set[tuple[int, int]] = set()  # files with two names in the tree, as installers link programs
    for place in directories():
        directory = _enter(place)
        try:
            own = _own(_checked(directory, place, {build, agent}), stat.S_IRWXU)
            _take(directory, own, agent, group, for_all=is_for_both and place != TOP)
            for name, fd in _files(directory):
                names = os.fstat(fd)
                if (names.st_dev, names.st_ino) in taken or _is_sealed(names, agent, group, for_all=is_for_both):
                    continue
                known = _checked(fd, f"{place}/{name}", {build, agent}, build)
                _take(fd, _own(known, stat.S_IRUSR), agent, group, for_all=is_for_both)
                _demand_closed(fd, f"{place}/{name}", agent)
                if known.st_nlink > 1:
                    taken.add((known.st_dev, known.st_ino))
        finally:
            os.close(directory)


def open_up(build: int, agent: int, group: int) -> None:
    """All of it the build's. From the leaves up: so the build cannot swap what is still to be given."""
    for place in reversed(list(directories())):
        directory = _enter(place)
        try:
            for name, fd in _files(directory):
                known = _checked(fd, f"{place}/{name}", {build, agent}, build)
                _give(fd, known, build, group)
            _give(directory, _checked(directory, place, {build, agent}), build, group)
        finally:
            os.close(directory)


def directories() -> Iterator[str]:
    """Each before those in it; one is looked into only when it is asked for the next."""
    waiting = [TOP]
    while waiting:
        place = waiting.pop()
        yield place
        directory = _enter(place)
        try:
            with os.scandir(directory) as entries:
                waiting.extend(f"{place}/{entry.name}" for entry in entries if entry.is_dir(follow_symlinks=False))
        finally:
            os.close(directory)


def _enter(place: str) -> int:
    """Its descriptor, by way of real directories alone."""
    fd = os.open(TOP, OPENING | os.O_DIRECTORY)
    for part in place.split("/")[1:]:
        try:
            below = os.open(part, OPENING | os.O_DIRECTORY, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _files(directory: int) -> Iterator[tuple[str, int]]:
    """Regular files, open; a link has no owner that matters, and the rest is refused when the tree is judged."""
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
    for name in names:
        fd = os.open(name, OPENING, dir_fd=directory)
        try:
            yield name, fd
        finally:
            os.close(fd)


def _checked(fd: int, name: str, owners: set[int], build: int | None = None) -> os.stat_result:
    """What is known of it. Refused when it is neither of `owners`', or has a second name and is not the build's."""
    known = os.fstat(fd)
    if build is not None and known.st_nlink > 1 and known.st_uid != build:
        raise RefusedError(f"{name[:200]} is a second name of a file that is not the build's; let the build copy it")
    if known.st_uid not in owners:
        raise RefusedError(f"{name[:200]} is neither the build's nor the agent's")
    return known


def _demand_closed(fd: int, name: str, owner: int) -> None:
    """Called when nobody else may open it any more. Refused while somebody has it open to write."""
    ours = os.geteuid()
    os.seteuid(owner)  # whom alone the kernel tells
    try:
        for _ in range(LOOKS):
            if _is_closed(fd):
                return
            time.sleep(LOOK_S)
    finally:
        os.seteuid(ours)
    if _leases():
        words = "is open to write by something that still runs; let builds open their files to nobody"
        raise RefusedError(f"{name[:200]} {words}")


def _is_closed(fd: int) -> bool:
    """Also where the file system knows no leases."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)  # given only where nobody writes
    except OSError as error:
        return error.errno != errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return True


def _leases() -> bool:
    """Does this file system give any? Some that lie elsewhere refuse all. The top is ours already."""
    os.close(os.open(PROBE, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    fd = os.open(PROBE, OPENING)
    try:
        os.unlink(PROBE)  # noqa: PTH108 - nothing but os here
        return _is_closed(fd)
    finally:
        os.close(fd)


def _let_in(owners: set[int], readers: int) -> bool:
    """Put a group on the top's list, beside the group that it is of; whether there can be such a list."""
    rows = ((OWNER, 7, NOBODY), (OWNERS_GROUP, 5, NOBODY), (GROUP, 5, readers), (MOST, 5, NOBODY), (OTHERS, 0, NOBODY))
    top = _enter(TOP)
    try:
        _checked(top, TOP, owners)
        os.setxattr(top, LIST, LIST_VERSION + b"".join(struct.pack("<HHI", *row) for row in rows))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    finally:
        os.close(top)
    return True


def _own(known: os.stat_result, least: int) -> int:
    """What its owner may do with it, `least` included."""
    return known.st_mode & stat.S_IRWXU | least


def _take(fd: int, own: int, agent: int, group: int, *, for_all: bool) -> None:
    os.fchown(fd, agent, group)
    os.fchmod(fd, _sealed(own, for_all=for_all))


def _sealed(own: int, *, for_all: bool) -> int:
    read = own & 0o500
    return own | read >> 3 | (read >> 6 if for_all else 0)


def _is_sealed(known: os.stat_result, agent: int, group: int, *, for_all: bool) -> bool:
    """What all may read does for the group too: the top keeps the others out."""
    own, mode = _own(known, stat.S_IRUSR), stat.S_IMODE(known.st_mode)
    is_theirs = (known.st_uid, known.st_gid) == (agent, group)
    return is_theirs and mode in {_sealed(own, for_all=True), _sealed(own, for_all=for_all)}


def _give(fd: int, known: os.stat_result, build: int, group: int) -> None:
    own = known.st_mode & 0o777 | (stat.S_IRWXU if stat.S_ISDIR(known.st_mode) else 0)
    os.fchmod(fd, own)
    os.fchown(fd, build, group)


def main(arguments: list[str]) -> int:
    verb, *numbers = arguments
    try:
        (seal if verb == SEAL else open_up)(*map(int, numbers))
    except RefusedError as error:
        sys.stdout.write(f"cannot hand over the build: {error}\n")
        return REFUSED
    except OSError as error:
        sys.stdout.write(f"cannot hand over the build: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
