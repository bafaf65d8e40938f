"""Secrets at rest: bound to their place, useless without the key file, and nowhere else in any file."""

import asyncio
import dataclasses
import json
import sqlite3
import stat
import threading

import pytest
import sqlalchemy as sa
from alembic import command
from hypothesis import given
from hypothesis import strategies as st

from control_plane import store
from control_plane.domain import values
from control_plane.store import migrate, reseal, sealing, tables
from control_plane.store.sealing import Keyring, SealError
from tests import builders

PLACE = "settings|a|value"
CANARIES = {
    name: f"canary-{name}-4f1d9a7c"
    for name in ("env", "git_token", "deploy_key", "hook", "webhook", "setting", "answer", "tls", "basic")
}
DIGEST = "canary-fingerprint-0b7e"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "control-plane.db"


@pytest.fixture
def keys(tmp_path):
    return Keyring.load_or_create(tmp_path / "keys")


def key_file(path):
    return path.with_name(f"{path.name}.keys")


def on_disk(path, *without):
    """Every byte in the directory of the database, its journals and copies included, but for the files `without`."""
    return b"\n".join(file.read_bytes() for file in path.parent.iterdir() if file.is_file() and file not in without)


async def filled(path):
    """A store in which every sealed column holds a canary."""
    opened = await store.open(path, builders.StillClock())
    async with opened.write() as tx:
        await tx.insert_project(builders.a_project())
        await tx.insert_instance(builders.an_instance())
        config = builders.a_config(
            env=(values.Variable("NAME_OF_CANARY", CANARIES["env"], secret=True),),
            git_token=CANARIES["git_token"],
            deploy_key=CANARIES["deploy_key"],
        )
        await tx.insert_deployment(builders.a_deployment(config=config, hook_digest="d", hook_secret=CANARIES["hook"]))
        await tx.insert_service(builders.a_service())
        await tx.insert_release(builders.a_release(config=config))
        options = values.RouteOptions(tls="own", key=CANARIES["tls"], basic_auth=(("ada", CANARIES["basic"]),))
        await tx.insert_route(builders.a_route(options=options))
        await tx.put_setting("signing", CANARIES["setting"])
        await tx.insert_webhook(
            values.Webhook(
                builders.an_id("whk"), "", "https://example.com", ("*",), CANARIES["webhook"], "", "",
                builders.START, builders.START,
            )
        )  # fmt: skip
        body = json.dumps({"token": CANARIES["answer"]})
        await tx.insert_answer(values.StoredAnswer("user:a", "POST /x", "k", DIGEST, 201, {}, body, 0.0))
    return opened


async def read_back(opened):
    """Every canary as the store gives it."""
    async with opened.read() as tx:
        deployment, release = await tx.find_deployment("app"), await tx.get_release(builders.an_id("dep"), 1)
        route, answer = await tx.get_route(builders.an_id("rte")), await tx.find_answer("user:a", "POST /x", "k")
        webhook = await tx.get_webhook(builders.an_id("whk"))
        assert release.config == deployment.config
        assert answer.fingerprint == DIGEST
        return {
            "env": deployment.config.env[0].value,
            "git_token": deployment.config.git_token,
            "deploy_key": deployment.config.deploy_key,
            "hook": deployment.hook_secret,
            "webhook": webhook.secret,
            "setting": await tx.get_setting("signing"),
            "answer": json.loads(answer.body)["token"],
            "tls": route.options.key,
            "basic": route.options.basic_auth[0][1],
        }


# the seal itself


@given(st.text(), st.text(), st.text())
def test_what_is_sealed_opens_in_its_place_alone(tmp_path_factory, text, place, other):
    keys = Keyring.load_or_create(tmp_path_factory.getbasetemp() / "keys-of-hypothesis")
    text, place, other = (one.encode("utf-8", "replace").decode() for one in (text, place, other))
    sealed = keys.seal(text, place)
    assert keys.open(sealed, place) == text
    if other != place:
        with pytest.raises(SealError):
            keys.open(sealed, other)


def test_the_same_text_is_never_sealed_the_same(keys):
    assert len({keys.seal("x", PLACE) for _ in range(100)}) == 100


def test_every_flipped_bit_is_noticed(keys):
    sealed = keys.seal("text", PLACE)
    for index in range(len(sealed)):
        for bit in range(7):
            changed = sealed[:index] + chr(ord(sealed[index]) ^ (1 << bit)) + sealed[index + 1 :]
            try:
                opened = keys.open(changed, PLACE)
            except SealError:
                continue
            # base64 ends in bits that mean nothing: the same bytes, written in another way
            assert opened == "text"
            assert sealing._parts(changed) == sealing._parts(sealed)


@pytest.mark.parametrize("damaged", ["", "v1", "v1...", "v0.a.b.c", "plain text", "v1.k.!!.!!", "v1.nokey.AAAA.AAAA"])
def test_what_is_no_seal_is_refused(keys, damaged):
    with pytest.raises(SealError):
        keys.open(damaged, PLACE)


def test_a_shortened_or_mixed_seal_is_refused(keys):
    first, second = (keys.seal(text, PLACE).split(".") for text in ("one", "two"))
    for mixed in ([*first[:3], second[3]], [*first[:2], second[2], first[3]], [*first[:3], first[3][:8]]):
        with pytest.raises(SealError):
            keys.open(".".join(mixed), PLACE)


# the key file


def test_the_key_file_is_for_the_owner_alone(tmp_path, keys):
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]
    (tmp_path / "keys").chmod(0o640)
    with pytest.raises(SealError, match="0600"):
        Keyring.load_or_create(tmp_path / "keys")


@pytest.mark.parametrize("cut", [0, 1, 12, 13, 30, 56, 57])
def test_a_shortened_key_file_is_refused(tmp_path, keys, cut):
    keys.rotate()
    whole = (tmp_path / "keys").read_bytes()
    (tmp_path / "keys").write_bytes(whole[:cut])
    with pytest.raises(SealError, match="damaged"):
        Keyring.load_or_create(tmp_path / "keys")
    (tmp_path / "keys").write_bytes(whole[: 58 + cut])
    if cut in {0}:
        assert Keyring.load_or_create(tmp_path / "keys").newest
    else:
        with pytest.raises(SealError, match="damaged"):
            Keyring.load_or_create(tmp_path / "keys")


def test_of_many_processes_that_begin_at_once_all_have_the_same_key(tmp_path):
    found, barrier = [], threading.Barrier(16)

    def begin():
        barrier.wait(10)
        found.append(Keyring.load_or_create(tmp_path / "keys").newest)

    threads = [threading.Thread(target=begin) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 16
    assert len(set(found)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


def test_of_many_rotations_at_once_no_key_is_lost(tmp_path):
    Keyring.load_or_create(tmp_path / "keys")
    threads = [threading.Thread(target=Keyring.load_or_create(tmp_path / "keys").rotate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len((tmp_path / "keys").read_text().splitlines()) == 9


def test_an_old_seal_opens_after_a_rotation_and_no_more_when_its_key_was_forgotten(tmp_path, keys):
    old = keys.seal("text", PLACE)
    other = Keyring.load_or_create(tmp_path / "keys")
    name = keys.rotate()
    assert keys.open(old, PLACE) == "text"
    new = keys.rewrap(old)
    assert new.split(".")[1] == name
    assert keys.rewrap(new) == new
    keys.forget_older()
    assert keys.open(new, PLACE) == other.open(new, PLACE) == "text"
    with pytest.raises(SealError, match="not in"):
        Keyring.load_or_create(tmp_path / "keys").open(old, PLACE)


def test_a_process_that_runs_seals_with_the_key_that_another_one_made(tmp_path, keys):
    name = Keyring.load_or_create(tmp_path / "keys").rotate()
    assert keys.seal("text", PLACE).split(".")[1] == name


# in the database


async def test_the_database_and_its_copies_reveal_nothing(path):
    opened = await filled(path)
    backup = path.with_name("copy")
    migrate.back_up(path, backup)
    assert (await read_back(opened)) == CANARIES
    revealed = [name for name, canary in CANARIES.items() if canary.encode() in on_disk(path)]
    await opened.close()
    assert revealed == []
    assert DIGEST.encode() not in on_disk(path)
    assert b"NAME_OF_CANARY" not in on_disk(path)


@dataclasses.dataclass(frozen=True)
class Sealed:
    """A column of which the one row is sealed."""

    table: str
    column: str


SEALS = [
    Sealed("deployments", "config"), Sealed("releases", "config"), Sealed("routes", "options"),
    Sealed("deployments", "hook_secret"), Sealed("webhooks", "secret"), Sealed("settings", "value"),
    Sealed("answers", "body"), Sealed("answers", "fingerprint"),
]  # fmt: skip


@pytest.mark.parametrize("here", SEALS, ids=lambda one: f"{one.table}.{one.column}")
async def test_a_seal_in_another_place_is_refused(path, here):
    await (await filled(path)).close()
    whole = path.read_bytes()
    for there in SEALS:
        if there != here:
            path.write_bytes(whole)
            move_seal(path, here, there)
            with pytest.raises(SealError):
                await opened_and_read(path)


def move_seal(path, here, there):
    connection = sqlite3.connect(path)
    text = connection.execute(f"SELECT {here.column} FROM {here.table}").fetchone()[0]
    target = connection.execute(f"SELECT {there.column} FROM {there.table}").fetchone()[0]
    seal = json.loads(text)["sealed"] if text.startswith("{") else text
    put = json.dumps({**json.loads(target), "sealed": seal}) if target.startswith("{") else seal
    connection.execute(f"UPDATE {there.table} SET {there.column} = ?", (put,))
    connection.commit()
    connection.close()


async def opened_and_read(path):
    opened = await store.open(path, builders.StillClock())
    try:
        return await read_back(opened)
    finally:
        await opened.close()


async def test_a_seal_of_another_row_is_refused(path):
    opened = await filled(path)
    async with opened.write() as tx:
        await tx.put_setting("other", "text")
    await opened.close()
    connection = sqlite3.connect(path)
    connection.execute(
        "UPDATE settings SET value = (SELECT value FROM settings WHERE key = 'other') WHERE key = 'signing'"
    )
    connection.commit()
    connection.close()
    with pytest.raises(SealError):
        await store.open(path, builders.StillClock())


async def test_a_database_without_its_keys_is_not_opened_with_new_ones(path):
    await (await filled(path)).close()
    kept = key_file(path).rename(path.with_name("kept"))
    with pytest.raises(SealError, match="restore"):
        await store.open(path, builders.StillClock())
    assert not key_file(path).exists()
    Keyring.load_or_create(key_file(path))
    with pytest.raises(SealError, match="restore"):
        await store.open(path, builders.StillClock())
    kept.rename(key_file(path))
    opened = await store.open(path, builders.StillClock())
    assert (await read_back(opened)) == CANARIES
    await opened.close()


async def test_a_rotation_brings_everything_under_the_new_key(path):
    opened = await filled(path)
    keys = Keyring.load_or_create(key_file(path))
    old = keys.newest
    keys.rotate()
    async with opened.write() as tx:
        assert await reseal.rewrap_all(tx._connection, keys) == len(SEALS)
        assert await reseal.rewrap_all(tx._connection, keys) == 0
    keys.forget_older()
    assert (await read_back(opened)) == CANARIES
    await opened.close()
    migrate.forget_former_content(path, 1)
    assert old.encode() not in on_disk(path)
    again = await store.open(path, builders.StillClock())
    assert (await read_back(again)) == CANARIES
    await again.close()


def test_every_column_with_a_secret_is_listed():
    """A new one of these names must be sealed, or explained here."""
    words = ("secret", "token", "password", "config", "options", "value", "body", "fingerprint", "key")
    known = {(table.name, column) for table, column, _, _ in reseal.COLUMNS}
    found = {
        (table.name, column.name)
        for table in tables.METADATA.sorted_tables
        for column in table.columns
        if any(word in column.name for word in words)
    }
    explained = {
        ("users", "password_hash"),  # argon2id
        ("settings", "key"), ("answers", "key"),  # names
        ("env_changes", "key"), ("env_changes", "secret"),  # a name, a flag
        ("deliveries", "body"),  # an event, which holds no secret
    }  # fmt: skip
    assert found - explained == known


# the upgrade from the release that sealed nothing

OLD = {"env": "canary-old-env-8d1c", "signing": "canary-old-signing-77aa", "gone": "canary-old-deleted-31ff"}


def old_database(path):
    """A database as the former release left it: open, with a row that was deleted and still stands in a free page."""
    path.parent.mkdir(mode=0o700)
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    with engine.connect() as connection:
        command.upgrade(migrate.config(connection), "0001")
        connection.commit()
    engine.dispose()
    config = {name: value for name, value in dataclasses.asdict(builders.a_config()).items() if name in OLD_FIELDS}
    config["env"] = {"DATABASE_URL": OLD["env"]}
    config["health_check"].pop("command")
    at = builders.START.isoformat(timespec="microseconds")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA secure_delete=OFF")  # some builds of SQLite begin with ON
    connection.execute("INSERT INTO settings VALUES ('signing', ?)", (OLD["signing"],))
    connection.execute("INSERT INTO settings VALUES ('gone', ?)", (OLD["gone"] * 400,))
    insert(connection, "projects", id=builders.an_id("prj"), name="default", description="", created_at=at)
    insert(
        connection, "deployments", id=builders.an_id("dep"), project_id=builders.an_id("prj"), name="app",
        service_id=builders.an_id("svc"), config=json.dumps(config), release=1, created_at=at, updated_at=at,
    )  # fmt: skip
    insert(
        connection, "releases", id=builders.an_id("rel"), deployment_id=builders.an_id("dep"), number=1,
        config=json.dumps(config), commit_id="", state="live", reason="", message="", created_at=at, changed_at=at,
    )  # fmt: skip
    connection.commit()
    connection.execute("DELETE FROM settings WHERE key = 'gone'")
    connection.commit()
    connection.close()


OLD_FIELDS = (
    *("source", "remote", "branch", "commit", "runtime", "version", "build_cmd", "run_cmd", "working_dir"),
    *("static_dir", "port", "health_check", "description"),
)


def insert(connection, table, **row):
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))


def the_backup(path):
    (found,) = path.parent.glob("*.backup")
    return found


async def is_upgraded(path):
    opened = await store.open(path, builders.StillClock())
    async with opened.read() as tx:
        deployment, release = await tx.find_deployment("app"), await tx.get_release(builders.an_id("dep"), 1)
        assert deployment.config.env == release.config.env == (values.Variable("DATABASE_URL", OLD["env"]),)
        assert await tx.get_setting("signing") == OLD["signing"]
    await opened.close()


async def test_an_upgrade_seals_everything_and_leaves_nothing_in_free_pages(path):
    old_database(path)
    assert all(canary.encode() in on_disk(path) for canary in OLD.values())
    await is_upgraded(path)
    left = [name for name, canary in OLD.items() if canary.encode() in on_disk(path, the_backup(path))]
    assert left == []


async def test_the_copy_from_before_the_upgrade_is_open_and_for_the_owner_alone(path):
    """It is the way back to the former release, which reads no seals: docs/explanation/secrets.md says to delete it."""
    old_database(path)
    await is_upgraded(path)
    assert OLD["env"].encode() in the_backup(path).read_bytes()
    assert stat.S_IMODE(the_backup(path).stat().st_mode) == 0o600


async def test_an_upgrade_that_was_interrupted_before_the_sealing_is_finished_at_the_next_start(path):
    old_database(path)
    await asyncio.to_thread(migrate.upgrade, path, builders.START)
    assert OLD["env"].encode() in on_disk(path, the_backup(path))
    await is_upgraded(path)
    assert OLD["env"].encode() not in on_disk(path, the_backup(path))


async def test_an_upgrade_that_was_interrupted_before_the_cleaning_is_finished_at_the_next_start(path, monkeypatch):
    old_database(path)

    class KilledError(Exception):
        pass

    def killed(*_):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(migrate, "forget_former_content", killed)
        with pytest.raises(KilledError):
            await store.open(path, builders.StillClock())
    await is_upgraded(path)
    left = [name for name, canary in OLD.items() if canary.encode() in on_disk(path, the_backup(path))]
    assert left == []
