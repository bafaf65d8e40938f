"""One suite over the uploaded sources in memory and in a directory; below, what only a directory can do wrong."""

import errno
import hashlib
import io
import os
import stat

import pytest

from control_plane import errors
from control_plane.clock import SystemClock
from control_plane.fakes.archive_files import MemoryArchiveFiles
from control_plane.store.archives import SPARED_S, FileArchives

GZIP = b"\x1f\x8b" + bytes(range(256)) * 4000
ZIP = b"PK\x03\x04" + b"z" * 10


@pytest.fixture(params=["memory", "directory"])
def files(request, tmp_path):
    return MemoryArchiveFiles() if request.param == "memory" else FileArchives(tmp_path / "archives", SystemClock())


async def read(files, archive):
    return b"".join([piece async for piece in files.pieces(archive)])


@pytest.mark.parametrize("data", [GZIP, ZIP, b"\x28\xb5\x2f\xfd!"])
async def test_what_is_kept_is_read_back_by_its_digest(files, data):
    archive = files.keep(io.BytesIO(data))
    assert archive == hashlib.sha256(data).hexdigest()
    assert await read(files, archive) == data


@pytest.mark.parametrize("data", [b"", b"\x1f", b"#!/bin/sh\n", b"{}"])
async def test_what_is_no_archive_is_refused(files, data):
    with pytest.raises(errors.InvalidError) as caught:
        files.keep(io.BytesIO(data))
    assert caught.value.details["field"] == "body"


async def test_what_was_never_kept_is_not_found(files):
    for name in ("0" * 64, "../secret", "", ".upload-x"):
        with pytest.raises(errors.NotFoundError):
            await read(files, name)


async def test_a_sweep_takes_what_nobody_wants_and_leaves_what_is_held(files):
    wanted, held, free = (files.keep(io.BytesIO(GZIP + bytes([number]))) for number in range(3))
    files.let_go(wanted)
    files.let_go(free)
    await files.sweep({wanted})
    assert await read(files, wanted)
    assert await read(files, held)
    with pytest.raises(errors.NotFoundError):
        await read(files, free)


async def test_the_same_archive_kept_twice_is_held_twice(files):
    archive = files.keep(io.BytesIO(ZIP))
    assert files.keep(io.BytesIO(ZIP)) == archive
    files.let_go(archive)
    await files.sweep(())
    assert await read(files, archive) == ZIP
    files.let_go(archive)
    await files.sweep(())
    with pytest.raises(errors.NotFoundError):
        await read(files, archive)


async def test_archives_are_as_large_as_they_are_together(files):
    archives = [files.keep(io.BytesIO(data)) for data in (ZIP, GZIP, ZIP)]
    assert await files.size(archives) == len(ZIP) + len(GZIP)
    assert await files.size(["0" * 64, "../secret", ""]) == 0


class Broken(io.RawIOBase):
    """Gives the beginning of an archive, then fails."""

    def __init__(self, error):
        self.error, self.given = error, False

    def read(self, size=-1):
        if self.given:
            raise self.error
        self.given = True
        return GZIP[:1000]


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path):
    files = FileArchives(tmp_path, SystemClock())
    with pytest.raises(errors.InsufficientStorageError, match="make room"):
        files.keep(Broken(OSError(errno.ENOSPC, "full")))
    with pytest.raises(OSError, match="gone"):
        files.keep(Broken(OSError(errno.EIO, "gone")))
    assert list(tmp_path.iterdir()) == []


async def test_files_are_private_and_come_in_pieces(tmp_path):
    files = FileArchives(tmp_path / "archives", SystemClock())
    archive = files.keep(io.BytesIO(GZIP))
    assert stat.S_IMODE((tmp_path / "archives").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "archives" / archive).stat().st_mode) == 0o600
    sizes = [len(piece) async for piece in files.pieces(archive)]
    assert max(sizes) == 256 << 10
    assert sum(sizes) == len(GZIP)


def made_long_ago(path):
    long_ago = SystemClock().now().timestamp() - SPARED_S - 60
    os.utime(path, (long_ago, long_ago))


async def test_a_sweep_removes_what_a_crash_left_and_nothing_of_others(tmp_path):
    (tmp_path / ".upload-0123").write_bytes(b"half")
    (tmp_path / "README").write_text("of a person")
    for path in tmp_path.iterdir():
        made_long_ago(path)
    files = FileArchives(tmp_path, SystemClock())
    await files.sweep(())
    assert os.listdir(tmp_path) == ["README"]


async def test_a_sweep_spares_what_another_replica_may_be_about_to_use_while_it_is_fresh(tmp_path):
    one, other = (FileArchives(tmp_path, SystemClock()) for _ in range(2))
    (tmp_path / ".upload-0123").write_bytes(b"half")
    archive = one.keep(io.BytesIO(GZIP))
    await other.sweep(())
    assert await read(one, archive) == GZIP
    one.let_go(archive)  # the change failed; a third upload of the same bytes is under way elsewhere
    assert other.keep(io.BytesIO(GZIP)) == archive
    await one.sweep(())
    assert await read(other, archive) == GZIP
    for path in tmp_path.iterdir():
        made_long_ago(path)
    await one.sweep(())
    assert os.listdir(tmp_path) == []
