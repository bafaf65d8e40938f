"""Measures what uses the disk below the data directory: `measure.py ROOT [SERVICE]`, one JSON object on its output.

A program of its own that the supervisor runs as root, because much of it is for its owner alone to list. It imports
nothing of ours, follows no link and leaves no file system. Keys are paths below ROOT, values are bytes on the disk, entries
and the newest time of change; with SERVICE only those of that service.
"""

import contextlib
import json
import os
import stat
import sys

OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
BLOCK = 512
DEEPER = ("services/", "toolchains", "cache", "cache/git")  # what has its parts listed; "/": one level further down
NICE = 10

Use = list[float]


class Meter:
    """Counts each file once, however many names it has."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._device = os.lstat(root).st_dev
        self._seen: set[int] = set()
        self.found: dict[str, Use] = {}

    def parts(self, place: str, depth: int = 1) -> None:
        """Each directory in `place`, or `depth` levels below, by itself; files beside them belong to `place`."""
        own = self.found.setdefault(place, [0, 0, 0.0])
        for name, known in self._entries(place):
            below = f"{place}/{name}" if place else name
            if not stat.S_ISDIR(known.st_mode):
                self._count(own, known)
            elif depth > 1:
                self.parts(below, depth - 1)
            elif below not in DEEPER and f"{below}/" not in DEEPER:
                self.tree(below, known)

    def tree(self, top: str, known: os.stat_result) -> None:
        use = self.found.setdefault(top, [0, 0, 0.0])
        self._count(use, known)
        waiting = [top]
        while waiting:
            place = waiting.pop()
            for name, below in self._entries(place):
                self._count(use, below)
                if stat.S_ISDIR(below.st_mode):
                    waiting.append(f"{place}/{name}")

    def _count(self, use: Use, known: os.stat_result) -> None:
        if known.st_nlink > 1 and not stat.S_ISDIR(known.st_mode):
            if known.st_ino in self._seen:
                return
            self._seen.add(known.st_ino)
        use[0] += known.st_blocks * BLOCK
        use[1] += 1
        use[2] = max(use[2], known.st_mtime)

    def _entries(self, place: str) -> list[tuple[str, os.stat_result]]:
        """Of a directory; nothing of one that is gone, is elsewhere, or lies too deep."""
        found: list[tuple[str, os.stat_result]] = []
        try:
            fd = os.open(f"{self._root}/{place}", OPENING)
        except OSError:
            return found
        try:
            if os.fstat(fd).st_dev == self._device:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        try:
                            found.append((entry.name, entry.stat(follow_symlinks=False)))
                        except OSError:
                            continue  # gone meanwhile
        finally:
            os.close(fd)
        return found


def measure(root: str, service: str = "") -> dict[str, Use]:
    meter = Meter(root)
    if service:
        meter.parts(f"services/{service}")
    else:
        meter.parts("")
        for place in DEEPER:
            meter.parts(place.rstrip("/"), 2 if place.endswith("/") else 1)
    return {place: use for place, use in meter.found.items() if use[1]}


def main(arguments: list[str]) -> None:
    with contextlib.suppress(OSError):  # where we are not let, we are as quick as others
        os.nice(NICE)
    json.dump(measure(*arguments), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
