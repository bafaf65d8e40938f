"""Directory trees as a whole: delete them (whatever a build did to them), make them durable, make them read-only."""

import ctypes
import os
import pathlib
import subprocess
import tempfile

from node_agent.paths import Paths

PROGRAMS = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
DELETE_S = 600.0


def discard(paths: Paths, path: pathlib.Path) -> None:
    """Free the name at once, then delete. No-op when there is nothing. Blocks; what is cut short is left in trash/."""
    if not os.path.lexists(path):
        return
    paths.trash.mkdir(mode=0o700, parents=True, exist_ok=True)
    hole = pathlib.Path(tempfile.mkdtemp(dir=paths.trash))
    try:
        path.rename(hole / "x")
    except PermissionError:  # a read-only directory cannot be moved to another parent without root
        path.chmod(0o700)
        path.rename(hole / "x")
    delete(hole)


def delete(path: pathlib.Path) -> None:
    """Delete the tree. `rm` copes with a nesting that Python's recursion and long path names do not. Raises OSError."""
    _run("rm", "-rf", "--", str(path))
    if os.path.lexists(path):
        _run("chmod", "-R", "u+rwX", "--", str(path))
        _run("rm", "-rf", "--", str(path))
    if os.path.lexists(path):
        raise OSError(f"cannot delete {path}: something in it resists; see its owner and attributes")


def make_read_only(path: pathlib.Path) -> None:
    """Take the right to write away from everything in the tree, the directory itself excepted (it gets renamed)."""
    for parent, directories, files in os.walk(path):
        for name in (*directories, *files):
            entry = pathlib.Path(parent, name)
            if not entry.is_symlink():
                entry.chmod(entry.stat().st_mode & 0o555)


def flush(path: pathlib.Path) -> None:
    """Make everything below `path` durable: one syncfs of its file system instead of an fsync for each file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


def _run(*arguments: str) -> None:
    subprocess.run(
        arguments, env=PROGRAMS, check=False, timeout=DELETE_S, capture_output=True, stdin=subprocess.DEVNULL
    )
