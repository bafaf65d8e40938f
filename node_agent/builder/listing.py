"""What a commit holds, looked at before a file of it is written: how much, how deep, which submodules.

A few kilobytes of trees can stand for a billion files, so the listing is judged while it is read.
"""

import dataclasses
import pathlib

from node_agent.builder.git_command import Quota
from node_agent.errors import ReleaseFailedError

POINTER = b"version https://git-lfs.github.com/spec/v1\n"
POINTER_SIZES = range(100, 256)
MAX_CANDIDATES = 5000


class Budget:
    """What is left of a quota, over a source and its submodules."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._entries = self._bytes = 0

    def count(self, path: bytes, size: int) -> None:
        self._entries += 1
        self._bytes += size
        quota = self._quota
        if self._entries > quota.entries:
            raise _too_large(f"it has more than {quota.entries} files and directories")
        if self._bytes > quota.bytes:
            raise _too_large(f"its files have more than {quota.bytes >> 20} MiB together")
        if path.count(b"/") >= quota.depth:
            raise _too_large(f"it is nested deeper than {quota.depth} directories")
        if len(path) > quota.path or max(map(len, path.split(b"/"))) > 255:
            raise _too_large(f"it has a path of more than {quota.path} bytes")


@dataclasses.dataclass(slots=True)
class Listing:
    """Fed with the output of `ls-tree -r -t -l -z`. Raises ReleaseFailedError as soon as the budget is used up.

    `submodules` are path → commit; `small` are files that may be pointers to large ones.
    """

    budget: Budget
    submodules: dict[str, str] = dataclasses.field(default_factory=dict)
    small: list[bytes] = dataclasses.field(default_factory=list)
    has_modules: bool = False
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        *records, self._rest = (self._rest + data).split(b"\0")
        if len(self._rest) > (1 << 20):
            raise _too_large("it has a path of more than a megabyte")
        for record in records:
            self._take(record)

    def _take(self, record: bytes) -> None:
        head, _, path = record.partition(b"\t")
        mode, kind, commit, size = head.split()
        self.budget.count(path, int(size) if size.isdigit() else 0)
        if kind == b"commit":
            self.submodules[path.decode(errors="surrogateescape")] = commit.decode("ascii")
        elif path == b".gitmodules":
            self.has_modules = mode in {b"100644", b"100755"}  # a link would lead git elsewhere
        elif kind == b"blob" and int(size) in POINTER_SIZES and len(self.small) < MAX_CANDIDATES:
            self.small.append(path)


def pointers(tree: pathlib.Path, listing: Listing) -> list[str]:
    """The files that only point to large ones kept elsewhere. `tree` was just written, nobody else writes in it."""
    found = []
    for name in listing.small:
        path = tree / name.decode(errors="surrogateescape")
        if not path.is_symlink() and path.is_file():
            with path.open("rb") as file:
                if file.read(len(POINTER)) == POINTER:
                    found.append(str(path.relative_to(tree)))
    return found


def _too_large(why: str) -> ReleaseFailedError:
    return ReleaseFailedError(
        "source_too_large", f"cannot use the source: {why}; leave out what the build makes or installs"
    )
