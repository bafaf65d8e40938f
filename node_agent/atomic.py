"""Files that are either the old or the new, never torn. The only way in which the host side writes state."""

import contextlib
import os
import pathlib


def write_bytes(path: pathlib.Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data`, durably: written beside it, flushed, renamed, directory flushed. Raises OSError."""
    replace(path, data, mode)
    flush_directory(path.parent)


def replace(path: pathlib.Path, data: bytes, mode: int = 0o600, *, flushed: bool = True) -> None:
    """Whoever reads `path`, also after any of us was killed, finds the old or `data`. Raises OSError.

    A power failure may bring back the old until `flush_directory`; unless `flushed`, it may leave neither.
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
