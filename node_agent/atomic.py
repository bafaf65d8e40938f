"""Files that are either the old or the new, never torn. The only way in which the host side writes state."""

import contextlib
import errno
import os
import pathlib


def write_bytes(path: pathlib.Path, data: bytes, mode: int = 0o600, *, flushed: bool = True) -> None:
    """Replace `path` by `data`, durably: written beside it, flushed, renamed, directory flushed. Raises OSError.

    Not `flushed` it survives a kill, but not always a power failure: for what may then be missing.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            if flushed:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if flushed:
        flush_directory(path.parent)


def append(path: pathlib.Path, data: bytes, mode: int = 0o600, *, flushed: bool) -> int:
    """Add `data` to the end of `path`, all or nothing unless the power fails; its size then. Raises OSError.

    Many times cheaper than to replace the file. `flushed`: durable, but for the name of a new file.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        size = os.fstat(descriptor).st_size
        if os.write(descriptor, data) != len(data):
            os.ftruncate(descriptor, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if flushed:
            os.fdatasync(descriptor)
        return size + len(data)
    finally:
        os.close(descriptor)


def write_text(path: pathlib.Path, text: str, mode: int = 0o600) -> None:
    """`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode(), mode)


def symlink(target: str, path: pathlib.Path) -> None:
    """Make `path` a link to `target` in one step, replacing what is there. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(target)
    temporary.replace(path)
    flush_directory(path.parent)


def flush_directory(path: pathlib.Path) -> None:
    """Make renames and new names in `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
