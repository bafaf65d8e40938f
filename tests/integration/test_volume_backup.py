"""Volumes written out and restored on a host, with the real supervisor: as the service's user, whole or not at all."""

import asyncio
import gzip
import io
import itertools
import os
import pathlib
import socket
import stat
import tarfile

import pytest

from node_agent import errors
from node_agent.builder import backup
from node_agent.model.process import ProcessId
from node_agent.model.run import Ending, VolumeSpec
from node_agent.reconciler.volumes import Volumes
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import Uploads
from tests.integration.test_isolation_probes import PYTHON, lines
from tests.supervisor_host import SERVICE, SupervisorHost, a_process, passable, reach
from tests.waiting import wait_until_async

numbers = itertools.count()
APP = 200000
needs_users = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and a Python that every user can run"
)


class World:
    """One volume of one service, its supervisor, and what its programs wrote."""

    def __init__(self, host: SupervisorHost, client: SupervisorClient, options: tuple[str, ...]) -> None:
        self.host, self.client, self.options, self.uploads = host, client, options, Uploads()
        self.volumes = Volumes(client, host.paths, self.uploads)
        self.place = host.paths.volume(SERVICE, "data")
        self.restarts = itertools.count()

    async def app(self, command: str) -> None:
        """What the service does in its volume, to its end."""
        spec = a_process(
            f"cd $DPLOYR_VOLUME_DATA && {command}; echo end; exec sleep 1000",
            id=ProcessId(SERVICE, 1, next(self.restarts), "web.1"),
            volumes=("data",),
        )
        seen = len(lines(self.host, spec))
        await self.client.start(spec)
        await wait_until_async(lambda: lines(self.host, spec)[seen:][-1:] == ["end"])
        await self.client.stop(spec.id, 0.0)

    async def ask(self, archive: bytes | None = None, write=None) -> tuple[Ending, bytes, str]:
        written: dict[str, bytes] = {"stdout": b"", "stderr": b""}

        async def keep(stream: str, data: bytes) -> None:
            written[stream] += data

        digest = "" if archive is None else self.uploads.put(archive)
        wanted = VolumeSpec(f"run_{next(numbers):026d}", SERVICE, "data", digest, 60.0)
        ending = await self.volumes.run(wanted, write or keep)
        return ending, written["stdout"], written["stderr"].decode()

    async def backup(self) -> bytes:
        ending, data, words = await self.ask()
        assert (ending, words) == (Ending("exited", 0), "")
        return data

    async def restore(self, archive: bytes) -> None:
        ending, said, words = await self.ask(archive)
        assert (ending, said, words) == (Ending("exited", 0), b"", "")

    def beside(self) -> list[str]:
        """What is there that should not be."""
        runs = os.listdir(self.host.paths.runs) if self.host.paths.runs.exists() else []
        return [*runs, *self.host.marked(), *(name for name in os.listdir(self.place.parent) if name != "data")]


@pytest.fixture(params=[pytest.param("users", marks=needs_users), "none"])
async def world(request):
    with passable() as root:
        host = SupervisorHost(root / "data")
        options = () if request.param == "users" else ("--uid-range", "none")
        host.start(*options)
        client = SupervisorClient(host.paths)
        await client.connect(20)
        try:
            yield World(host, client, options)
        finally:
            await client.close()
            host.close()


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        return {member.name: member for member in opened}


def packed(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for info, data in entries:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, **changes) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for field, value in changes.items():
        setattr(found, field, value)
    return found


def content(place: pathlib.Path) -> dict[str, str]:
    return {str(file.relative_to(place)): file.read_text() for file in sorted(place.rglob("*")) if file.is_file()}


async def test_what_is_deleted_after_a_backup_comes_back_as_it_was(world):
    await world.app(
        "mkdir -p a/b empty; echo one >a/b/file; echo run >tool; chmod 750 tool; ln -s /etc/passwd out; ln -s a/b in;"
        " chmod 500 a; touch -d 2001-02-03T04:05:06Z tool"
    )
    archive = await world.backup()
    await world.app("chmod 700 a; rm -rf ./*; echo new >new")
    await world.restore(archive)
    assert content(world.place) == {"a/b/file": "one\n", "tool": "run\n"} | (
        {"out": pathlib.Path("/etc/passwd").read_text()}
    )
    assert os.readlink(world.place / "in") == "a/b"
    assert os.readlink(world.place / "out") == "/etc/passwd"
    assert (world.place / "empty").is_dir()
    assert stat.S_IMODE((world.place / "a").stat().st_mode) == 0o500
    assert stat.S_IMODE((world.place / "tool").stat().st_mode) == 0o750
    assert (world.place / "tool").stat().st_mtime == 981173106
    assert world.beside() == []


@pytest.mark.parametrize("world", [pytest.param("users", marks=needs_users)], indirect=True)
async def test_a_restored_volume_is_the_services_own(world):
    await world.app("echo one >file")
    uid = world.place.stat().st_uid
    await world.restore(await world.backup())
    for place in (world.place, world.place / "file"):
        assert (place.stat().st_uid, place.stat().st_gid) == (uid, uid)
    assert stat.S_IMODE(world.place.stat().st_mode) == 0o700
    await world.app("echo two >>file")
    assert content(world.place) == {"file": "one\ntwo\n"}


async def test_names_and_sizes_of_every_kind_survive(world):
    await world.app(
        "printf x >'a b'; printf x >'-rf'; printf x >\"$(printf 'bad\\377name')\"; printf x >'new\nline';"
        f" mkdir -p {'/'.join('d' * 90 for _ in range(12))} && printf x >{'/'.join('d' * 90 for _ in range(12))}/deep;"
        " truncate -s 300000000 sparse; touch none"
    )
    before = content_names(world.place)
    archive = await world.backup()
    assert len(archive) < 4 << 20
    await world.restore(archive)
    assert content_names(world.place) == before
    assert (world.place / "sparse").stat().st_size == 300_000_000


def content_names(place: pathlib.Path) -> list[bytes]:
    return sorted(os.path.join(parent, name) for parent, _, names in os.walk(os.fsencode(place)) for name in names)


async def test_what_holds_no_data_is_left_out(world):
    await world.app("mkfifo pipe; echo one >file")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(world.place / "sock"))
    listener.close()
    assert set(members(await world.backup())) == {"file"}


def test_a_file_that_shrinks_while_it_is_read_is_as_long_as_it_was(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 1000)
    fd = os.open(file, os.O_RDONLY)
    try:
        source = backup.Exactly(fd, 3000)
        pieces = [source.read(1024) for _ in range(4)]
    finally:
        os.close(fd)
    assert [len(piece) for piece in pieces] == [1024, 1024, 952, 0]
    assert b"".join(pieces) == b"x" * 1000 + bytes(2000)


@pytest.mark.parametrize("world", [pytest.param("users", marks=needs_users)], indirect=True)
async def test_a_file_that_the_service_cannot_read_itself_fails_the_backup_and_is_named(world):
    await world.app("echo one >file; echo two >locked; chmod 0 locked")
    ending, _, words = await world.ask()
    assert ending == Ending("exited", 2)
    assert words == "it cannot be read: Permission denied: 'locked'\n"


async def test_a_volume_nobody_wrote_to_is_an_empty_archive(world):
    assert members(await world.backup()) == {}


@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (b"no archive", "it is no .tar.gz"),
        (gzip.compress(b"x" * 5000), "damaged"),
        (packed((entry("good"), b"x"), (entry("../out"), b"x")), "leads upwards"),
        (packed((entry("good"), b"x"), (entry("/etc/out"), b"x")), "absolute path"),
        (packed((entry("good"), b"x"), (entry("device", tarfile.CHRTYPE), b"")), "a device"),
        (packed((entry("to", tarfile.SYMTYPE, linkname="/tmp"), b""), (entry("to/file"), b"x")), "below a link"),
        (packed((entry("good"), os.urandom(1 << 20)))[:500_000], "damaged"),
    ],
    ids=["other", "no-tar", "upwards", "absolute", "device", "by-a-link", "cut"],
)
async def test_an_archive_that_is_not_good_changes_nothing(world, archive, words):
    await world.app("echo one >file")
    ending, said, _ = await world.ask(archive)
    assert ending == Ending("exited", 2)
    assert said.startswith(b"cannot restore the volume: ")
    assert words in said.decode()
    assert content(world.place) == {"file": "one\n"}
    assert world.beside() == []


async def test_no_volume_of_a_running_service_is_restored(world):
    spec = a_process(volumes=("data",))
    await world.client.start(spec)
    archive = packed((entry("new"), b"x"))
    with pytest.raises(errors.NotRunnableError, match="stop it first"):
        await world.ask(archive)
    await world.client.stop(spec.id, 0.0)
    assert content(world.place) == {}
    await world.restore(archive)
    assert content(world.place) == {"new": "x"}


async def test_a_service_that_starts_meanwhile_keeps_the_volume_that_it_sees(world):
    """It starts while the archive is on its way."""
    await world.app("echo one >file")
    spec = a_process(volumes=("data",), id=ProcessId(SERVICE, 1, 99, "web.1"))
    archive = packed((entry("new"), b"x"))

    class Starting(Uploads):
        async def fetch(self, digest, target):
            await super().fetch(digest, target)
            await world.client.start(spec)

    world.volumes = Volumes(world.client, world.host.paths, Starting())
    world.uploads = world.volumes._archives
    with pytest.raises(errors.SupervisorRefusedError, match="stop "):
        await world.ask(archive)
    await world.client.stop(spec.id, 0.0)
    assert content(world.place) == {"file": "one\n"}
    assert world.beside() == []


async def test_a_volume_is_backed_up_or_restored_by_one_at_a_time(world):
    await world.app("head -c 3000000 /dev/urandom >file")
    reads, goes_on = asyncio.Event(), asyncio.Event()

    async def slow(stream: str, data: bytes) -> None:
        reads.set()
        await goes_on.wait()

    first = asyncio.create_task(world.ask(write=slow))
    await reads.wait()
    with pytest.raises(errors.NotRunnableError, match="being backed up or restored now"):
        await world.ask(packed((entry("new"), b"x")))
    goes_on.set()
    ending, _, _ = await first
    assert ending == Ending("exited", 0)


async def test_a_reader_that_goes_ends_the_backup(world):
    await world.app("head -c 3000000 /dev/urandom >file")

    async def broken(stream: str, data: bytes) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await world.ask(write=broken)
    assert world.beside() == []
    assert set(members(await world.backup())) == {"file"}


async def test_an_archive_that_does_not_come_changes_nothing(world):
    await world.app("echo one >file")
    wanted = VolumeSpec(f"run_{next(numbers):026d}", SERVICE, "data", "0" * 64, 60.0)

    async def unheard(stream: str, data: bytes) -> None:
        raise AssertionError(data)

    with pytest.raises(errors.ControlPlaneUnavailableError, match="archive did not come"):
        await world.volumes.run(wanted, unheard)
    assert content(world.place) == {"file": "one\n"}
    assert world.beside() == []


def cut_off(world) -> None:
    """The supervisor died between the two renames that put a restored volume in its place."""
    world.host.kill()
    world.place.rename(world.host.paths.volume_former(SERVICE, "data"))
    draft = world.host.paths.volume_draft(SERVICE, "data")
    draft.mkdir()
    (draft / "new").write_text("half")
    world.host.start(*world.options)


async def test_a_swap_that_was_cut_off_is_taken_back_at_the_next_start(world):
    await world.app("echo one >file")
    cut_off(world)
    await reach(world.host, world.client)
    await world.app("cat file >again")
    assert content(world.place) == {"file": "one\n", "again": "one\n"}
    await world.restore(await world.backup())
    assert world.beside() == []


async def test_a_swap_that_was_cut_off_is_taken_back_before_anything_is_deleted(world):
    """The agent deletes what restoring left, and that is the only copy now."""
    await world.app("echo one >file")
    cut_off(world)
    await reach(world.host, world.client)
    ending, _, _ = await world.ask(b"no archive")
    assert ending == Ending("exited", 2)
    assert content(world.place) == {"file": "one\n"}
    assert world.beside() == []
