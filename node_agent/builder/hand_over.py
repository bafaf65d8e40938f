"""Gives the tree in the current directory to the user of the service's builds, or takes it back from there.

A program of its own that the supervisor runs as root, when no process of the build is left or before one begins:
`hand_over.py open_build|seal_release UID GID`. It imports nothing of ours, follows no link, and refuses a file that is
linked from elsewhere too. Exit status 0: done; 2: refused, with one sentence on its last line.

While a directory is the build's user's, that user could swap what is in it. So what is given is given from the
leaves up, and what is taken back is taken from the top down: every directory on the way is ours while we walk.
"""

import os
import stat
import sys
from collections.abc import Callable, Iterator

REFUSED = 2
OPENING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
SEAL = "seal_release"


class RefusedError(Exception):
    """The tree holds what must not change its owner."""


def directories(top: str = ".") -> Iterator[str]:
    """Each before those in it; one is looked into only when it is asked for the next."""
    waiting = [top]
    while waiting:
        place = waiting.pop()
        yield place
        with os.scandir(place) as entries:
            waiting.extend(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))


def seal(uid: int, gid: int) -> None:
    """All of it ours, for the group to read; what could be run can be run.

    A file with two names in the tree (installers link programs so) is the build's at the first, and taken at the second.
    """
    taken: set[tuple[int, int]] = set()

    def take(fd: int, known: os.stat_result, name: str) -> None:
        if (known.st_dev, known.st_ino) not in taken:
            _take(fd, _checked(known, uid, name), gid, stat.S_IRUSR)
        if known.st_nlink > 1:
            taken.add((known.st_dev, known.st_ino))

    for place in directories():
        _change(place, os.O_DIRECTORY, lambda fd, known: _take(fd, known, gid, stat.S_IRWXU))
        for name in _others(place):
            _change(name, 0, lambda fd, known: take(fd, known, name))  # noqa: B023


def open_up(uid: int, gid: int) -> None:
    """All of it the user's."""
    for place in reversed(list(directories())):
        for name in _others(place):
            _change(name, 0, lambda fd, known: _give(fd, _checked(known, uid, name), uid, gid))  # noqa: B023
        _change(place, os.O_DIRECTORY, lambda fd, known: _give(fd, known, uid, gid))


def _others(place: str) -> Iterator[str]:
    """Regular files; a link has no owner that matters, and the rest is refused when the tree is judged."""
    with os.scandir(place) as entries:
        yield from [entry.path for entry in entries if entry.is_file(follow_symlinks=False)]


def _change(path: str, flags: int, change: Callable[[int, os.stat_result], None]) -> None:
    fd = os.open(path, OPENING | flags)
    try:
        change(fd, os.fstat(fd))
    finally:
        os.close(fd)


def _checked(known: os.stat_result, uid: int, name: str) -> os.stat_result:
    if known.st_nlink > 1 and known.st_uid != uid:
        raise RefusedError(f"{name[:200]} is a second name of a file that is not the build's; let the build copy it")
    return known


def _take(fd: int, known: os.stat_result, gid: int, least: int) -> None:
    own = known.st_mode & stat.S_IRWXU | least
    os.fchown(fd, 0, gid)
    os.fchmod(fd, own | (own & 0o500) >> 3)


def _give(fd: int, known: os.stat_result, uid: int, gid: int) -> None:
    own = known.st_mode & 0o777 | (stat.S_IRWXU if stat.S_ISDIR(known.st_mode) else 0)
    os.fchmod(fd, own)
    os.fchown(fd, uid, gid)


def main(arguments: list[str]) -> int:
    verb, uid, gid = arguments
    try:
        (seal if verb == SEAL else open_up)(int(uid), int(gid))
    except RefusedError as error:
        sys.stdout.write(f"cannot hand over the build: {error}\n")
        return REFUSED
    except OSError as error:
        sys.stdout.write(f"cannot hand over the build: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
