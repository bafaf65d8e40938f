"""Keys and certificates on disk: either the old or the new, never torn, never readable by others."""

import os
import pathlib

from control_plane import errors


def make_directory(directory: pathlib.Path) -> None:
    """A directory of our own, mode 0700."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)


def write_private(path: pathlib.Path, data: bytes) -> None:
    """Replace `path` by `data` with mode 0600, durably. Raises OSError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_directory(path.parent)


def read_private(path: pathlib.Path) -> bytes:
    """The content of a key file. Raises InvalidError when it is missing or others may read it."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise errors.InvalidError(f"cannot use the key {path}: it is missing; restore it from a backup") from error
    if mode & 0o077:
        raise errors.InvalidError(f"cannot use the key {path}: others may read it; run chmod 600 on it")
    return data


def _flush_directory(path: pathlib.Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
