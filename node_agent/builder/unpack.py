"""Unpacks an uploaded source, or the backup of a volume, into the current directory: gzip or zstd tar, or zip, told apart by
their first bytes. `unpack.py [--volume] ARCHIVE [UID GID]`.

A program of its own that the supervisor runs as a job, because it is given a stranger's bytes: it limits itself first,
and never follows a link. It imports nothing of ours. Exit status 0: done; 2: refused, with one sentence on its last line.
"""

import codecs
import contextlib
import ctypes
import dataclasses
import errno
import gzip
import os
import resource
import stat
import sys
import tarfile
import time
import zipfile
from typing import IO, Any, NoReturn, Protocol, cast

FREE_BYTES = 64 << 20  # the ratio does not count below
MAX_LINK = 4096
MEMORY_BYTES = 1 << 30
CHUNK = 1 << 20
REFUSED = 2

Parts = tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """What may be in an archive. `ratio`: how many times its size it may have unpacked, 0 for any.

    `keeps`: permissions and times stay, and links may lead anywhere; nothing that is ours follows them.
    """

    what: str
    entries: int
    bytes: int
    ratio: int
    depth: int
    path: int
    cpu_s: int
    keeps: bool = False


SOURCE = Rules("unpack the uploaded source", 200_000, 2 << 30, 200, 64, 1024, 600)
VOLUME = Rules("restore the volume", 1_000_000, 16 << 30, 0, 2048, 4096, 3600, keeps=True)


class RefusedError(Exception):
    """The archive asks for what it must not have."""


class Reader(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class Budget:
    """What is left of entries and bytes."""

    def __init__(self, archive_bytes: int, rules: Rules) -> None:
        self._entries = self._bytes = 0
        self._rules = rules
        self._limit = rules.bytes
        if rules.ratio:
            self._limit = min(rules.bytes, max(FREE_BYTES, rules.ratio * archive_bytes))

    def entry(self) -> None:
        self._entries += 1
        if self._entries > self._rules.entries:
            hint = "" if self._rules.keeps else "; leave out what the build makes or installs"
            raise RefusedError(f"it has more than {self._rules.entries} entries{hint}")

    def count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            grown = (
                "" if self._limit == self._rules.bytes else f", which is more than {self._rules.ratio} times its size"
            )
            raise RefusedError(f"unpacked it is larger than {self._limit >> 20} MiB{grown}")


class Tree:
    """The directory that is filled. Every name is walked from its root, one real directory after the other."""

    def __init__(self, root: str, budget: Budget, rules: Rules) -> None:
        self._root = os.path.realpath(root)
        self._budget = budget
        self._rules = rules
        self._top = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._parent: Parts = ()
        self._parent_fd = os.dup(self._top)
        self._links: list[Parts] = []
        self._directories: dict[Parts, tuple[int, float]] = {}

    def directory(self, name: str, mode: int, mtime: float) -> None:
        if parts := checked(name, self._rules):
            self._enter(parts)
            if self._rules.keeps:  # later: who may not write into it could not fill it
                self._directories[parts] = (mode & 0o777, mtime)

    def file(self, name: str, source: Reader, mode: int, mtime: float) -> None:
        parent, last = self._place(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        kept = 0o600 if self._rules.keeps else 0o755 if mode & 0o100 else 0o644
        target = os.open(last, flags, kept, dir_fd=parent)
        with os.fdopen(target, "wb") as out:
            while data := source.read(CHUNK):
                self._budget.count(len(data))
                out.write(data)
            if self._rules.keeps:
                out.flush()
                os.fchmod(target, mode & 0o777)
                os.utime(target, (mtime, mtime))

    def link(self, name: str, target: str) -> None:
        """Judged by where it leads when all is there, see `close`."""
        if not target or len(os.fsencode(target)) > MAX_LINK or "\0" in target:
            raise RefusedError(f"the link {shown(name)} has no usable target")
        if target.startswith("/") and not self._rules.keeps:
            raise RefusedError(f"the link {shown(name)} leads to the absolute path {shown(target)}")
        parent, last = self._place(name)
        os.symlink(target, last, dir_fd=parent)
        self._links.append(checked(name, self._rules))

    def copy(self, name: str, other: str) -> None:
        """A hard link in the archive: the same bytes as a file that was unpacked before."""
        parts = checked(other, self._rules)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(parts[-1], flags, dir_fd=self._enter(parts[:-1]))
        except (OSError, IndexError) as error:
            raise RefusedError(f"the hard link {shown(name)} is to no file of the archive: {shown(other)}") from error
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise RefusedError(f"the hard link {shown(name)} is to no file of the archive: {shown(other)}")
        with os.fdopen(fd, "rb") as source:
            self.file(name, source, info.st_mode, info.st_mtime)

    def close(self) -> None:
        """The links are judged last: one may lead out by way of another that came later."""
        if self._rules.keeps:
            self._settle()
            return
        for parts in self._links:
            path = "/".join((self._root, *parts))
            real = os.path.realpath(path)
            if os.path.islink(path) and real != self._root and not real.startswith(f"{self._root}/"):  # noqa: PTH114
                raise RefusedError(f"the link {shown('/'.join(parts))} leads out of the source")

    def _settle(self) -> None:
        """The permissions of directories, from the leaves up; and all of it on the disk."""
        for parts, (mode, mtime) in sorted(self._directories.items(), key=lambda one: -len(one[0])):
            fd = self._enter(parts)
            os.fchmod(fd, mode)
            os.utime(fd, (mtime, mtime))
        if ctypes.CDLL(None, use_errno=True).syncfs(self._top):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def _place(self, name: str) -> tuple[int, str]:
        """Where a file or link shall be made; one of that name gives way, as with any unpacker."""
        parts = checked(name, self._rules)
        if not parts:
            raise RefusedError(f"the entry {shown(name)} has no name")
        parent = self._enter(parts[:-1])
        self._budget.entry()
        try:
            os.unlink(parts[-1], dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise RefusedError(f"the entry {shown(name)} is a directory and a file at once") from error
        return parent, parts[-1]

    def _enter(self, parts: Parts) -> int:
        """The directory, made where it is missing."""
        if parts == self._parent:
            return self._parent_fd
        fd = os.dup(self._top)
        for part in parts:
            below = self._step(fd, part, parts)
            os.close(fd)
            fd = below
        os.close(self._parent_fd)
        self._parent, self._parent_fd = parts, fd
        return fd

    def _step(self, fd: int, part: str, parts: Parts) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(part, flags, dir_fd=fd)
        except FileNotFoundError:
            self._budget.entry()
            os.mkdir(part, 0o755, dir_fd=fd)
            return os.open(part, flags, dir_fd=fd)
        except OSError as error:
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            raise RefusedError(f"{shown('/'.join(parts))} lies below a link or a file") from error


class Counted:
    """What comes out of a decompressor, counted: also headers cost."""

    def __init__(self, stream: Reader, budget: Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._budget.count(len(data))
        return data


def checked(name: str, rules: Rules) -> Parts:
    """`name` in parts, when it is a relative path of sane length that stays below its root."""
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/"):
        raise RefusedError(f"the entry {shown(name)} has an absolute path")
    if ".." in parts:
        raise RefusedError(f"the entry {shown(name)} leads upwards with ..")
    if "\0" in name or len(os.fsencode(name)) > rules.path or any(len(os.fsencode(part)) > 255 for part in parts):
        raise RefusedError(f"the entry {shown(name)} has a name that is too long or holds a NUL")
    if len(parts) > rules.depth:
        raise RefusedError(f"the entry {shown(name)} is nested deeper than {rules.depth} directories")
    return parts


def shown(text: str) -> str:
    return repr(text[:100])


def unpack_tar(stream: Reader, tree: Tree, budget: Budget) -> None:
    counted = cast("IO[bytes]", Counted(stream, budget))
    with tarfile.open(fileobj=counted, mode="r|") as archive:
        while (member := archive.next()) is not None:
            cast("Any", archive).members.clear()  # it would keep all of them
            _unpack_member(archive, member, tree)


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, tree: Tree) -> None:
    if member.isdir():
        tree.directory(member.name, member.mode, member.mtime)
    elif member.isreg() and (source := archive.extractfile(member)) is not None:
        tree.file(member.name, source, member.mode, member.mtime)
    elif member.issym():
        tree.link(member.name, member.linkname)
    elif member.islnk():
        tree.copy(member.name, member.linkname)
    else:
        raise RefusedError(f"the entry {shown(member.name)} is a device, a FIFO or nothing that a source has")


def unpack_zip(file: IO[bytes], tree: Tree) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            _unpack_info(archive, info, tree)


def _unpack_info(archive: zipfile.ZipFile, info: zipfile.ZipInfo, tree: Tree) -> None:
    mode = info.external_attr >> 16
    if info.flag_bits & 1:
        raise RefusedError(f"the entry {shown(info.filename)} is encrypted")
    mtime = _time(info)
    if info.is_dir():
        tree.directory(info.filename, mode or 0o755, mtime)
        return
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFLNK}:
        raise RefusedError(f"the entry {shown(info.filename)} is a device, a FIFO or nothing that a source has")
    with archive.open(info) as source:
        if stat.S_ISLNK(mode):
            tree.link(info.filename, os.fsdecode(source.read(MAX_LINK + 1)))
        else:
            tree.file(info.filename, source, mode or 0o644, mtime)


def _time(info: zipfile.ZipInfo) -> float:
    """0 for a date that is none."""
    with contextlib.suppress(OverflowError, ValueError):
        return time.mktime((*info.date_time, 0, 0, -1))
    return 0.0


def unpack(file: IO[bytes], root: str, rules: Rules) -> None:
    """Fill the directory `root`. Raises RefusedError, OSError, and what the readers of damaged archives raise."""
    size = os.fstat(file.fileno()).st_size
    tree = Tree(root, Budget(size, rules), rules)
    magic = file.read(4)
    file.seek(0)
    if magic.startswith(b"\x1f\x8b"):
        unpack_tar(gzip.GzipFile(fileobj=file), tree, Budget(size, rules))
    elif magic == b"\x28\xb5\x2f\xfd":
        unpack_tar(_zstd(file), tree, Budget(size, rules))
    elif magic in {b"PK\x03\x04", b"PK\x05\x06"}:
        unpack_zip(file, tree)
    else:
        raise RefusedError("it is no .tar.gz, .tar.zst or .zip")
    tree.close()


def _zstd(file: IO[bytes]) -> Reader:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=128 << 20)
    return cast("Reader", decompressor.stream_reader(file, read_across_frames=True))


def opened(path: str) -> int:
    """The archive: a file, no link, and nobody's second name for a file of somebody else's."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    known = os.fstat(fd)
    if not stat.S_ISREG(known.st_mode) or known.st_nlink != 1:
        raise RefusedError("it is no file of its own")
    return fd


def limit(rules: Rules) -> None:
    """Before the first byte of the archive is read."""
    limits = (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, rules.cpu_s),
        (resource.RLIMIT_FSIZE, rules.bytes),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in limits:
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most, most) if hard == resource.RLIM_INFINITY else (min(most, hard), min(most, hard)))


def drop(uid: int, gid: int) -> None:
    """Go on as the user of the builds, or of the app. What is imported later than now may lie where that user cannot read."""
    with contextlib.suppress(ImportError):
        import zstandard  # noqa: F401
    codecs.lookup("cp437")
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def main(arguments: list[str]) -> None:
    rules = VOLUME if arguments[0] == "--volume" else SOURCE
    limit(rules)
    os.umask(0o022)
    try:
        path, *user = arguments[1:] if rules is VOLUME else arguments
        with os.fdopen(opened(path), "rb") as file:
            if user:
                drop(*map(int, user))
            unpack(file, ".", rules)
    except RefusedError as error:
        refuse(rules, str(error))
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            refuse(rules, "the disk of the host is full; delete what is not needed")
        refuse(rules, f"it cannot be read or written: {error.strerror or error}")
    except MemoryError:
        refuse(rules, f"reading it takes more than {MEMORY_BYTES >> 20} MiB of memory")
    except Exception as error:  # the readers of damaged archives raise what they like
        refuse(rules, f"it is damaged: {type(error).__name__}: {error}")


def refuse(rules: Rules, words: str) -> NoReturn:
    sys.stdout.write(f"cannot {rules.what}: {words[:400]}\n")
    sys.stdout.flush()
    os._exit(REFUSED)


if __name__ == "__main__":
    main(sys.argv[1:])
