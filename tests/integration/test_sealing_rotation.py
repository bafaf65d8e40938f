"""The key of what is sealed is replaced beside a running daemon, and everything stays readable, whoever wrote it when."""

import asyncio
import stat

import pytest
import sqlalchemy as sa

from control_plane import store
from control_plane.domain import values
from control_plane.store import tables
from control_plane.store.sealing import Keyring, SealError
from tests import builders

SECRET = "a canary of a secret"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "control-plane.db"


@pytest.fixture
def key_file(path):
    return path.with_name(f"{path.name}.keys")


@pytest.fixture
async def opened(path):
    """Opens the database as one more process would; all are closed at the end."""
    made = []

    async def open_one():
        made.append(await store.open(path, builders.StillClock()))
        return made[-1]

    yield open_one
    for one in made:
        await one.close()


async def fill(daemon):
    """One secret in every kind of sealed column."""
    config = builders.a_config(env=(values.Variable("KEY", SECRET, secret=True),), git_token=SECRET)
    options = values.RouteOptions(tls="own", key=SECRET)
    hook = values.Webhook(
        builders.an_id("whk"),
        builders.an_id("prj"),
        "https://a.test/",
        ("*",),
        SECRET,
        "",
        "",
        builders.START,
        builders.START,
    )
    async with daemon.write() as tx:
        await tx.insert_project(builders.a_project())
        await tx.insert_instance(builders.an_instance())
        await tx.insert_deployment(builders.a_deployment(config=config, hook_secret=SECRET))
        await tx.insert_release(builders.a_release(config=config))
        await tx.insert_service(builders.a_service())
        await tx.insert_route(builders.a_route(options=options))
        await tx.insert_webhook(hook)
        await tx.put_setting("canary", SECRET)
        await tx.insert_answer(values.StoredAnswer("p", "r", "k", "f", 200, {}, SECRET, 0.0))


async def is_whole(opened):
    async with opened.read() as tx:
        deployment = await tx.find_deployment("app")
        release = await tx.get_release(deployment.id, 1)
        found = [
            *(deployment.config.env[0].value, deployment.config.git_token, deployment.hook_secret),
            *(release.config.env[0].value, release.config.git_token),
            (await tx.get_route(builders.an_id("rte"))).options.key,
            (await tx.get_webhook(builders.an_id("whk"))).secret,
            await tx.get_setting("canary"),
            (await tx.find_answer("p", "r", "k")).body,
        ]
    return set(found) == {SECRET}


async def test_everything_is_readable_after_the_key_was_replaced_and_the_old_one_is_gone(opened, key_file):
    daemon = await opened()
    await fill(daemon)
    before = key_file.read_text().split()[0]
    name, changed = await (await opened()).rotate_sealing()
    assert changed >= 7
    assert [line.split()[0] for line in key_file.read_text().splitlines()] == [name]
    assert name != before
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert await is_whole(daemon)
    assert await is_whole(await opened())


async def test_what_a_running_daemon_seals_afterwards_is_under_the_new_key(opened):
    daemon = await opened()
    await fill(daemon)
    await (await opened()).rotate_sealing()
    async with daemon.write() as tx:
        await tx.put_setting("later", SECRET)
    async with (await opened()).read() as tx:
        assert await tx.get_setting("later") == SECRET


async def test_a_daemon_may_write_all_the_time_while_the_key_is_replaced_again_and_again(opened):
    daemon, other = await opened(), await opened()
    await fill(daemon)
    done = asyncio.Event()

    async def work():
        count = 0
        while not done.is_set():
            async with daemon.write() as tx:
                await tx.put_setting(f"setting-{count}", SECRET)
            count += 1
        return count

    working = asyncio.create_task(work())
    for _ in range(4):
        await other.rotate_sealing()
    done.set()
    count = await working
    assert count
    fresh = await opened()
    assert await is_whole(fresh)
    async with fresh.read() as tx:
        assert {await tx.get_setting(f"setting-{number}") for number in range(count)} == {SECRET}


async def test_a_rotation_that_ended_half_way_lost_nothing_and_the_next_one_finishes_it(opened, key_file):
    await fill(await opened())
    Keyring.load_or_create(key_file).rotate()
    assert await is_whole(await opened())
    await (await opened()).rotate_sealing()
    assert len(key_file.read_text().splitlines()) == 1
    assert await is_whole(await opened())


async def test_no_key_is_forgotten_while_anything_is_under_it(opened, key_file, path):
    daemon = await opened()
    await fill(daemon)
    sealed = Keyring.load_or_create(key_file).seal(SECRET, "projects|x|description")
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.execute(sa.update(tables.projects).values(description=f"has {sealed} in it"))
    engine.dispose()
    with pytest.raises(SealError, match=r"projects\.description"):
        await daemon.rotate_sealing()
    assert len(key_file.read_text().splitlines()) == 2
    assert await is_whole(await opened())


async def test_a_key_file_that_is_gone_stops_sealing_before_anything_is_lost(opened, key_file):
    daemon = await opened()
    await fill(daemon)
    key_file.unlink()
    with pytest.raises(SealError, match="restore it"):
        async with daemon.write() as tx:
            await tx.put_setting("later", SECRET)
    assert await is_whole(daemon)


def test_a_reader_that_began_before_still_opens_what_it_finds(tmp_path):
    daemon = Keyring.load_or_create(tmp_path / "keys")
    old = daemon.seal(SECRET, "t|r|c")
    other = Keyring.load_or_create(tmp_path / "keys")
    other.rotate()
    other.forget_older()
    daemon.seal("x", "t|r|c")
    assert daemon.open(old, "t|r|c") == SECRET
    with pytest.raises(SealError):
        other.open(old, "t|r|c")
    assert daemon.newest == other.newest
