"""A /tmp of its own for each user of ours: a mount namespace in which the user's directory stands at /tmp and /var/tmp.

The supervisor makes a room by stepping into a new namespace, keeps its descriptor, and steps back: the thread of its loop
alone, for a room is a thread's own. What is started from there stays there. A room has no name and ends with its last
process.
"""

import contextlib
import ctypes
import os
import pathlib
from collections.abc import Iterator
from typing import Protocol

from node_agent.supervisor.loop import note

NAMESPACE = "/proc/self/ns/mnt"
PLACES = ("/tmp", "/var/tmp")  # noqa: S108 - these are what is replaced
CLONE_FS, CLONE_NEWNS = 0x200, 0x20000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000


class Room(Protocol):
    def entered(self) -> contextlib.AbstractContextManager[None]:
        """What we start inside the block is in the room, we ourselves are out of it afterwards. Raises OSError."""
        ...


class Rooms:
    """Raises OSError when made where we may not make one."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._home = os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        self._rooms: dict[str, int] = {}
        os.close(self._make(""))

    def room(self, directory: str) -> Room:
        """The room whose /tmp is `directory`, made when it is first asked for. Raises OSError."""
        if directory not in self._rooms:
            self._rooms[directory] = self._make(directory)
        return _Room(self, self._rooms[directory])

    def forget(self, directory: str) -> None:
        """What runs in it keeps it. No-op when there is none."""
        if (namespace := self._rooms.pop(directory, None)) is not None:
            os.close(namespace)

    @contextlib.contextmanager
    def inside(self, namespace: int) -> Iterator[None]:
        """Step in, and back into our own: the place we stood at is lost on the way.

        The kernel lets nobody step over who has that place in common with another thread, such as one that makes a hole.
        """
        self._call("unshare", CLONE_FS)
        self._call("setns", namespace, CLONE_NEWNS)
        try:
            yield
        finally:
            self._call("setns", self._home, CLONE_NEWNS)

    def _make(self, directory: str) -> int:
        self._call("unshare", CLONE_NEWNS)
        try:
            self._call("mount", None, b"/", None, MS_REC | MS_SLAVE, None)  # ours stay ours; the host's still arrive
            for place in PLACES if directory else ():
                self._call("mount", os.fsencode(directory), place.encode(), None, MS_BIND, None)
            return os.open(NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
        finally:
            self._call("setns", self._home, CLONE_NEWNS)

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._libc, name)(*arguments):
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")


class _Room:
    """Implements Room."""

    def __init__(self, rooms: Rooms, namespace: int) -> None:
        self._rooms, self._namespace = rooms, namespace

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return self._rooms.inside(self._namespace)


def open_rooms(root: pathlib.Path) -> tuple[Rooms | None, str]:
    """The rooms of one data directory, None where there can be none; what of it is enforced, in words. Raises nothing."""
    if hidden := next((place for place in PLACES if root.is_relative_to(place)), ""):
        return None, f"none: the data directory lies in {hidden}, which an app would no longer see"
    try:
        return Rooms(), "a directory of its own for each app and its builds"
    except OSError as error:
        note("rooms.refused", error=error)
        return None, f"none: {error}"
