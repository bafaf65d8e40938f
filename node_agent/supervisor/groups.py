"""The files of a control group: short texts, read and written whole. Raises OSError unless said otherwise."""

import contextlib
import errno
import os
import pathlib

PIECE = 1 << 16


def write(path: str, value: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def make(path: str) -> bool:
    """Was it made? False when it was there already. The one above it, too, should somebody have swept it away."""
    try:
        pathlib.Path(path).mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def remove(path: str) -> None:
    """No-op when it is gone."""
    with contextlib.suppress(FileNotFoundError):
        pathlib.Path(path).rmdir()


def read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(fd, PIECE)
        while more := os.read(fd, PIECE):
            data += more
        return data.decode()
    finally:
        os.close(fd)


def read_number(path: str) -> int:
    return int(read(path))


def read_pids(path: str) -> list[int]:
    """None when the group is gone."""
    try:
        return [int(pid) for pid in read(path).split()]
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENODEV}:
            return []
        raise


def value_of(text: str, name: str) -> int:
    """The number behind `name` in a file of `name value` lines; 0 when it is not there."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def refused_forks(directory: str) -> int:
    """By the limit of that group; 0 of a kernel that does not count them."""
    with contextlib.suppress(FileNotFoundError):
        return value_of(read(f"{directory}/pids.events"), "max")
    return 0


def subdirectories(path: pathlib.Path) -> list[str]:
    """Names of the groups below a group; none when it is gone."""
    try:
        return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())
    except FileNotFoundError:
        return []
