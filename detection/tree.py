"""The files of a working directory, as decisions need them: names, and the text of those that are read. Blocks.

The directory is a stranger's: links lead nowhere outside of `root`, and what is too much is left out.
"""

import os
import pathlib
import stat

from detection import manifest, table

MAX_READ = 16 << 20
MAX_ENTRIES = 5000
MAX_DEEPER = 200


def files_of(root: pathlib.Path, working_dir: str = "") -> dict[str, str]:
    """Names in `working_dir` of `root` with "" or their text, some of one level below as `place/name`.

    Raises NotADirectoryError when the directory is none inside `root`.
    """
    real_root = os.path.realpath(root)
    base = os.path.realpath(os.path.join(real_root, working_dir))  # noqa: PTH118 - compared as text
    if not _is_inside(base, real_root) or not os.path.isdir(base):  # noqa: PTH112 - same
        raise NotADirectoryError(working_dir)
    found: dict[str, str] = {}
    below: list[str] = []
    with os.scandir(base) as entries:
        for entry, _ in zip(entries, range(MAX_ENTRIES), strict=False):
            if _is_directory(entry):
                below.append(entry.name)
            elif (text := _content(base, entry.name, real_root)) is not None:
                found[entry.name] = text
    for name in sorted(below)[:MAX_DEEPER]:
        _look_below(base, name, real_root, found)
    return found


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads around in a circle
        return False


def _look_below(base: str, name: str, root: str, found: dict[str, str]) -> None:
    for leaf in table.DEEPER:
        if (text := _content(base, f"{name}/{leaf}", root)) is not None:
            found[f"{name}/{leaf}"] = text
    if name == "cmd":
        try:
            programs = sorted(os.listdir(os.path.join(base, name)))[:MAX_DEEPER]  # noqa: PTH118, PTH208 - text
        except OSError:
            return
        for program in programs:
            if (text := _content(base, f"cmd/{program}/main.go", root)) is not None:
                found[f"cmd/{program}/main.go"] = text


def _content(base: str, name: str, root: str) -> str | None:
    """None for what is no regular file inside `root`, and for one that is read and too large."""
    real = os.path.realpath(os.path.join(base, name))  # noqa: PTH118 - compared as text
    if not _is_inside(real, root):
        return None
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return None
        if not (table.is_read(name) or name in manifest.NAMES):
            return ""
        return None if info.st_size > MAX_READ else file.read(MAX_READ).decode("utf-8", "replace")


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(f"{root.rstrip('/')}/")
