"""What every ports.Archives does. A real one joins by another entry in `params`."""

import dataclasses
import hashlib
import io
import itertools

import pytest

from control_plane import errors
from control_plane.clock import SystemClock
from control_plane.fakes.archives import MemoryArchives
from control_plane.fakes.notifier import RecordingNotifier
from control_plane.fakes.store import MemoryStore
from control_plane.services.archives import Archives
from control_plane.services.context import Context
from control_plane.store.archives import FileArchives
from tests import builders

INSTANCE, OTHER = "ins_" + "0" * 26, "ins_" + "1" * 26
GZIP = b"\x1f\x8b"
DATA = bytes(range(256)) * 3000


class InMemory:
    """`put` stores what a service of INSTANCE wants; `forget`: none wants it any more."""

    def __init__(self) -> None:
        self.archives = MemoryArchives()

    async def put(self, data: bytes) -> str:
        return self.archives.put(INSTANCE, data)

    async def forget(self, archive: str) -> None:
        self.archives.forget(INSTANCE, archive)


class Stored:
    """Archives over rows and files, with one service on INSTANCE that wants the newest."""

    def __init__(self, directory) -> None:
        self.store, self.files = MemoryStore(), FileArchives(directory, SystemClock())
        ids, clock = builders.CountingIds(), builders.StillClock()
        self.archives = Archives(Context(self.store, RecordingNotifier(), clock, ids), self.files)
        self.count = itertools.count(1)

    async def put(self, data: bytes) -> str:
        digest, number = self.files.keep(io.BytesIO(GZIP + data)), next(self.count)
        changes = {"deployment_id": builders.an_id("dep", number), "id": builders.an_id("svc", number)}
        async with self.store.write() as tx:
            about = {"id": changes["deployment_id"], "service_id": changes["id"], "name": f"app-{number}"}
            await tx.insert_deployment(builders.a_deployment(**about))
            await tx.insert_service(builders.a_service(instance_id=INSTANCE, **changes))
            release = builders.a_release(id=builders.an_id("rel", number), archive=digest)
            await tx.insert_release(dataclasses.replace(release, deployment_id=changes["deployment_id"]))
        await self.archives.used(digest)
        return digest

    async def forget(self, archive: str) -> None:
        async with self.store.write() as tx:
            for release in [one for one in await tx.unfinished_releases() if one.archive == archive]:
                await tx.update_release(dataclasses.replace(release, archive=""))
        await self.archives.sweep()


@pytest.fixture(params=["memory", "files"])
def world(request, tmp_path):
    return InMemory() if request.param == "memory" else Stored(tmp_path / "archives")


async def read(world, instance_id: str, archive: str) -> bytes:
    return b"".join([piece async for piece in await world.archives.open(instance_id, archive)])


@pytest.mark.parametrize("data", [DATA, b"x", b""])
async def test_an_archive_comes_back_whole_by_its_digest(world, data):
    digest = await world.put(data)
    came = await read(world, INSTANCE, digest)
    assert digest == hashlib.sha256(came).hexdigest()
    assert came.removeprefix(GZIP) == data


async def test_two_may_read_one_archive_at_once(world):
    digest = await world.put(DATA)
    one, two = await world.archives.open(INSTANCE, digest), await world.archives.open(INSTANCE, digest)
    assert await anext(one) == await anext(two)


async def test_another_instance_gets_nothing(world):
    digest = await world.put(DATA)
    with pytest.raises(errors.NotFoundError, match="cannot send"):
        await read(world, OTHER, digest)


async def test_what_no_service_wants_any_more_is_gone(world):
    digest = await world.put(DATA)
    await world.forget(digest)
    with pytest.raises(errors.NotFoundError):
        await read(world, INSTANCE, digest)


@pytest.mark.parametrize("archive", ["", "f" * 64, "../../etc/passwd", "x\0y", "F" * 64])
async def test_what_is_no_digest_of_ours_is_not_found(world, archive):
    with pytest.raises(errors.NotFoundError):
        await read(world, INSTANCE, archive)
