"""Directory trees as a whole: throw them away (whatever a build did to them), make them durable, make them read-only."""

import contextlib
import ctypes
import os
import pathlib
import uuid

import failpoints
from node_agent.builder import children as programs
from node_agent.paths import Paths

PROGRAMS = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
DELETE_S = 600.0


def discard(paths: Paths, path: pathlib.Path) -> None:
    """Free the name at once: one rename into trash/, however large the tree. No-op when there is nothing."""
    if not os.path.lexists(path):
        return
    paths.trash.mkdir(mode=0o700, parents=True, exist_ok=True)
    target = paths.trash / uuid.uuid4().hex
    try:
        path.rename(target)
    except PermissionError:  # a read-only directory cannot be moved to another parent without root
        path.chmod(0o700)
        path.rename(target)


async def delete(path: pathlib.Path) -> None:
    """Delete the tree. `rm` copes with a nesting that Python's recursion and long path names do not.

    Its directories alone are opened up for that: its files may be another release's too.

    Raises OSError, ChildTimeoutError; when cancelled a part is left.
    """
    await _run("rm", "-rf", "--", str(path))
    if os.path.lexists(path):  # noqa: ASYNC240 - one look
        closed = ("-type", "d", "!", "-perm", "-0700")
        await _run("find", "-P", str(path), *closed, "-execdir", "chmod", "u+rwx", "{}", ";")
        await _run("rm", "-rf", "--", str(path))
    if os.path.lexists(path):  # noqa: ASYNC240 - one look
        raise OSError(f"cannot delete {path}: something in it resists; see its owner and attributes")


def children(directory: pathlib.Path) -> list[pathlib.Path]:
    """What lies in the directory; nothing when there is none."""
    with contextlib.suppress(FileNotFoundError):
        return list(directory.iterdir())
    return []


async def make_read_only(path: pathlib.Path) -> None:
    """Nobody may write into the tree, and everybody may read it, apps with users of their own too; but for the right to
    write into the directory itself (it gets renamed). What it holds runs as whoever starts it. Raises OSError.
    """
    path.chmod(0o755)  # noqa: ASYNC240 - one call
    entries = [str(entry) for entry in children(path) if not entry.is_symlink()]
    try:
        ended = await programs.run(("chmod", "-R", "g=u,o=u,a-ws", "--", *entries), PROGRAMS, DELETE_S)
    except programs.ChildTimeoutError as error:
        raise OSError(f"cannot protect {path}: {error}") from error
    if ended.code:
        raise OSError(f"cannot protect {path}: {ended.last_line}")


@failpoints.around("build.flush")
def flush(path: pathlib.Path) -> None:
    """Make everything below `path` durable: one syncfs of its file system instead of an fsync for each file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)


async def _run(*arguments: str) -> None:
    await programs.run(arguments, PROGRAMS, DELETE_S)
