"""Packs a directory. The same files make the same bytes, so that an unchanged directory is not built again."""

import dataclasses
import gzip
import os
import pathlib
import stat
import tarfile
from collections.abc import Iterator
from typing import IO

from dployr import errors
from dployr.packing import ignore

MTIME = 315_619_200  # 1980: earlier than that some archives cannot say
CHUNK = 1 << 20
LEVEL = 6


@dataclasses.dataclass(frozen=True, slots=True)
class Packed:
    """`skipped` are paths of what no source can have: sockets, pipes, devices."""

    entries: int
    bytes: int
    skipped: tuple[str, ...]


def pack(directory: pathlib.Path, out: IO[bytes]) -> Packed:
    """Write `directory` as a .tar.gz. Raises DployrError when it is none, or something in it cannot be read."""
    if not directory.is_dir():
        raise errors.DployrError(f"cannot pack {directory}: it is not a directory")
    entries, skipped = 0, []
    try:
        with (
            gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=LEVEL, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in walk(directory):
                if _add(archive, directory, path):
                    entries += 1
                else:
                    skipped.append(path)
    except OSError as error:
        raise errors.DployrError(f"cannot pack {error.filename or directory}: {error.strerror or error}") from error
    if entries == 0:
        raise errors.DployrError(f"cannot pack {directory}: nothing is in it that is not ignored")
    return Packed(entries, out.tell(), tuple(skipped))


def walk(directory: pathlib.Path) -> Iterator[str]:
    """What is not ignored, as paths below `directory`: a directory before what is in it, all in order. No link is followed."""
    yield from _below(directory, "", [])


def pieces(file: IO[bytes]) -> Iterator[bytes]:
    """From the beginning."""
    file.seek(0)
    while data := file.read(CHUNK):
        yield data


def _below(top: pathlib.Path, base: str, rules: list[ignore.Rule]) -> Iterator[str]:
    place = top / base
    rules = [*rules, *_rules(place, base)]
    with os.scandir(place) as found:
        entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)
    for name, is_directory in entries:
        path = f"{base}/{name}" if base else name
        if ignore.is_ignored(path, rules, is_directory=is_directory):
            continue
        yield path
        if is_directory:
            yield from _below(top, path, rules)


def _rules(place: pathlib.Path, base: str) -> list[ignore.Rule]:
    found: list[ignore.Rule] = []
    for name in ignore.FILES:
        file = place / name
        if file.is_file() and not file.is_symlink():
            found += ignore.parse(file.read_text(encoding="utf-8", errors="surrogateescape"), base)
    return found


def _add(archive: tarfile.TarFile, top: pathlib.Path, path: str) -> bool:
    """Nothing of who owns it here and when it was changed goes along."""
    place = top / path
    found = place.lstat()
    info = tarfile.TarInfo(path)
    info.mtime = MTIME
    if stat.S_ISLNK(found.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, str(place.readlink())
    elif stat.S_ISDIR(found.st_mode):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif not stat.S_ISREG(found.st_mode):
        return False
    else:
        info.mode = 0o755 if found.st_mode & 0o100 else 0o644
        with place.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            archive.addfile(info, file)
        return True
    archive.addfile(info)
    return True
