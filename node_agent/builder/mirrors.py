"""The mirrors on disk: how one is called, when it is begun anew, and which of them are kept. Blocks; run in a thread."""

import contextlib
import hashlib
import os
import pathlib
import shutil

from node_agent.builder import locks, trees
from node_agent.model.source import Access

MAX_SNAPSHOTS = 50
MAX_MIRROR_BYTES = 4 << 30
MAX_MIRRORS = 200
MAX_BYTES = 20 << 30
KEPT = "refs/dployr"
MADE = "dployr-made"


def name(remote: str, access: Access) -> str:
    """Of a repository, for who can open it like this."""
    secret = "\n".join(filter(None, (access.token, access.key)))
    who = hashlib.sha256(secret.encode()).hexdigest() if secret else ""
    return hashlib.sha256(f"{remote}\n{who}".encode() if who else remote.encode()).hexdigest()


def lock(mirror: pathlib.Path) -> pathlib.Path:
    return mirror.with_suffix(".lock")


def kept_ref(commit: str) -> str:
    """It stands for a commit that was fetched whole."""
    return f"{KEPT}/{commit}"


def holds(mirror: pathlib.Path, commit: str) -> bool:
    """By its ref, which lies in a file: nothing here packs refs."""
    try:
        return is_made(mirror) and (mirror / kept_ref(commit)).read_bytes().strip() == commit.encode()
    except OSError:
        return False


def forget(mirror: pathlib.Path, commit: str) -> None:
    """A fetch that failed is not believed, whatever it brought."""
    (mirror / kept_ref(commit)).unlink(missing_ok=True)


def made(mirror: pathlib.Path) -> None:
    """Git made a repository of it, to the end."""
    (mirror / MADE).touch(mode=0o600)


def is_made(mirror: pathlib.Path) -> bool:
    """An end of the host may leave the mark, and nothing in the file by which git knows a repository."""
    head = _stat(mirror / "HEAD")
    return (mirror / MADE).exists() and head is not None and head.st_size > 0


def doubt(mirror: pathlib.Path) -> None:
    """What is in it is not believed any more: the next fetch begins it anew."""
    (mirror / MADE).unlink(missing_ok=True)


def begin(mirror: pathlib.Path) -> None:
    """Called under the mirror's lock, before a fetch. A mirror that nobody vouches for, or that has grown too far, goes, and
    others make room.
    """
    if not is_made(mirror) or len(list((mirror / KEPT).glob("*"))) >= MAX_SNAPSHOTS or _size(mirror) > MAX_MIRROR_BYTES:
        _empty(mirror)
    mirror.mkdir(mode=0o700, exist_ok=True)
    tidy(mirror)
    prune(mirror.parent, mirror)


def tidy(mirror: pathlib.Path) -> int:
    """Remove what an ended git, or an ended host, left behind: we hold the only lock that counts. The size of the largest
    such file.
    """
    patterns = ("*.lock", "refs/dployr/*.lock", "objects/pack/tmp_*")
    largest = 0
    for left in (path for pattern in patterns for path in mirror.glob(pattern)):
        largest = max(largest, left.stat().st_size)
        left.unlink()
    for ref in (mirror / KEPT).glob("*"):
        if ref.read_bytes().strip() != ref.name.encode():
            ref.unlink()
    return largest


def prune(root: pathlib.Path, keep: pathlib.Path) -> None:
    """Delete the mirrors that were used longest ago, beyond MAX_MIRRORS and MAX_BYTES; never one in use."""
    found = [(used.st_mtime, path) for path in root.glob("*.lock") if (used := _stat(path))]
    total = 0
    for number, (_, path) in enumerate(sorted(found, reverse=True)):
        mirror = path.with_suffix("")
        total += _size(mirror)
        if mirror != keep and (number >= MAX_MIRRORS or total > MAX_BYTES):
            delete(mirror)


def delete(mirror: pathlib.Path) -> None:
    """Unless somebody uses it. With its lock, which goes last: without one nobody would find what is left of the mirror."""
    path = lock(mirror)
    held = locks.taken(path)
    if held is None:
        return
    try:
        _empty(mirror)
        if not mirror.exists():
            path.unlink()
    finally:
        os.close(held)


def _empty(mirror: pathlib.Path) -> None:
    """First what it is trusted by: half of one is none."""
    doubt(mirror)
    shutil.rmtree(mirror, ignore_errors=True)


def _size(mirror: pathlib.Path) -> int:
    """Of the packs: nearly all of a mirror. A fetch of somebody else may be at work there."""
    return sum(one.st_size for path in trees.children(mirror / "objects" / "pack") if (one := _stat(path)))


def _stat(path: pathlib.Path) -> os.stat_result | None:
    with contextlib.suppress(FileNotFoundError):
        return path.stat()
    return None
