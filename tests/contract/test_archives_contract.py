"""What every ports.Archives does. A real one joins by another entry in `params`."""

import hashlib

import pytest

from control_plane import errors
from control_plane.fakes.archives import MemoryArchives

INSTANCE, OTHER = "ins_" + "0" * 26, "ins_" + "1" * 26
DATA = bytes(range(256)) * 3000


class InMemory:
    """`put` stores what a service of INSTANCE wants; `forget`: none wants it any more."""

    def __init__(self) -> None:
        self.archives = MemoryArchives()

    async def put(self, data: bytes) -> str:
        return self.archives.put(INSTANCE, data)

    async def forget(self, archive: str) -> None:
        self.archives.forget(INSTANCE, archive)


@pytest.fixture(params=[InMemory])
def world(request):
    return request.param()


async def read(world, instance_id: str, archive: str) -> bytes:
    return b"".join([piece async for piece in await world.archives.open(instance_id, archive)])


@pytest.mark.parametrize("data", [DATA, b"x", b""])
async def test_an_archive_comes_back_whole_by_its_digest(world, data):
    digest = await world.put(data)
    assert digest == hashlib.sha256(data).hexdigest()
    assert await read(world, INSTANCE, digest) == data


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
