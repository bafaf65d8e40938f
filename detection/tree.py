"""The files of a working directory, as decisions need them: names, and the text of those that are read. Blocks.

The directory is a stranger's: links lead nowhere outside of `root`, and what is too much is left out.
"""

import os
import pathlib
import stat

from detection import loading, manifest, table

MAX_READ = 8 << 20  # of one file that is read whole
MAX_HEAD = 8 << 10  # of one whose beginning is enough
MAX_TOTAL = 32 << 20  # it is kept as long as the build goes on
MAX_ENTRIES = 5000
MAX_DEEPER = 200


def files_of(root: pathlib.Path, working_dir: str = "") -> dict[str, str]:
    """Names in `working_dir` of `root` with "" or their text, some of one level below as `place/name`.

    What is read is there however many other files there are. Raises NotADirectoryError when the directory is none inside
    `root`.
    """
    real_root = os.path.realpath(root)
    base = os.path.realpath(os.path.join(real_root, working_dir))  # noqa: PTH118 - compared as text
    if not _is_inside(base, real_root) or not os.path.isdir(base):  # noqa: PTH112 - same
        raise NotADirectoryError(working_dir)
    reader = _Reader(real_root, base)
    for name in (*manifest.NAMES, *sorted(table.READ)):
        reader.take(name)
    below = []
    with os.scandir(base) as entries:
        for entry, _ in zip(entries, range(MAX_ENTRIES), strict=False):
            if _is_directory(entry):
                below.append(entry.name)
            else:
                reader.take(entry.name)
    for name in sorted(below)[:MAX_DEEPER]:
        _look_below(reader, base, name)
    return reader.found


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads around in a circle
        return False


def _look_below(reader: "_Reader", base: str, name: str) -> None:
    for leaf in sorted(table.DEEPER):
        reader.take(f"{name}/{leaf}")
    if name == "cmd":
        try:
            inner = sorted(os.listdir(os.path.join(base, name)))[:MAX_DEEPER]  # noqa: PTH118, PTH208 - text
        except OSError:
            return
        for program in inner:
            reader.take(f"cmd/{program}/main.go")


class _Reader:
    """`found` grows with what is taken, up to a total."""

    def __init__(self, root: str, base: str) -> None:
        self._root, self._base = root, base
        self._left = MAX_TOTAL
        self.found: dict[str, str] = {}

    def take(self, name: str) -> None:
        """One whose name cannot be written down counts as not there: it would become part of a command."""
        if name.isprintable() and name not in self.found and (content := self._content(name)) is not None:
            self.found[name] = content

    def _content(self, name: str) -> str | None:
        """None for what is no regular file inside the root, and for one that is read and too large."""
        real = os.path.realpath(os.path.join(self._base, name))  # noqa: PTH118 - compared as text
        if not _is_inside(real, self._root):
            return None
        try:
            descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode):
                return None
            if name in manifest.NAMES:  # one that is too long is refused for that, not left out
                return self._text(file.read(4 * loading.MAX_TEXT + 1))
            if name in table.READ:
                return self._text(file.read(info.st_size)) if info.st_size <= min(MAX_READ, self._left) else None
            return self._text(file.read(min(MAX_HEAD, self._left))) if table.is_read(name) else ""

    def _text(self, data: bytes) -> str:
        self._left -= len(data)
        return data.decode("utf-8", "replace")


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")
