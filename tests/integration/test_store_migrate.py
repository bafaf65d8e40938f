"""The schema on disk: made, compared with the tables, refused, backed up."""

import sqlite3
import stat

import pytest
import sqlalchemy as sa
from alembic import autogenerate, command, migration

from control_plane import errors, store
from control_plane.store import migrate, tables
from tests import builders


@pytest.fixture
def path(tmp_path):
    return tmp_path / "data" / "control-plane.db"


def schema(engine):
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT name, type FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").all()
        columns = {
            name: connection.exec_driver_sql(
                f"SELECT name, type, \"notnull\", pk FROM pragma_table_info('{name}')"
            ).all()
            for name, kind in found
            if kind == "table"
        }
    return set(found), columns


@pytest.fixture
def migrated(path):
    migrate.upgrade(path, builders.START)
    engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), poolclass=sa.NullPool)
    yield engine
    engine.dispose()


def test_the_migrations_make_exactly_the_tables(migrated):
    with migrated.connect() as connection:
        context = migration.MigrationContext.configure(connection, opts={"compare_type": True})
        assert autogenerate.compare_metadata(context, tables.METADATA) == []


def test_migrated_and_made_from_scratch_are_the_same(migrated):
    scratch = sa.create_engine("sqlite://")
    tables.METADATA.create_all(scratch)
    names, columns = schema(migrated)
    assert names - {("alembic_version", "table")} == schema(scratch)[0]
    del columns["alembic_version"]
    assert columns == schema(scratch)[1]
    scratch.dispose()


def test_tables_are_strict(migrated):
    with migrated.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'").all()
    ours = {name: strict for name, strict in rows if name in tables.METADATA.tables}
    assert ours == dict.fromkeys(tables.METADATA.tables, 1)


def test_file_and_directory_are_for_the_owner_alone(path):
    migrate.upgrade(path, builders.START)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_directory_that_others_can_read_is_refused_and_left_as_it_is(path):
    path.parent.mkdir(mode=0o755)
    path.parent.chmod(0o755)
    with pytest.raises(migrate.OpenDirectoryError, match="0700"):
        migrate.upgrade(path, builders.START)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755
    assert list(path.parent.iterdir()) == []


def test_a_newer_schema_is_refused_and_not_touched(path):
    migrate.upgrade(path, builders.START)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(migrate.SchemaTooNewError, match="newer than this program"):
        migrate.upgrade(path, builders.START)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


def test_an_up_to_date_file_is_not_copied(path):
    migrate.upgrade(path, builders.START)
    migrate.upgrade(path, builders.START)
    assert not list(path.parent.glob("*.backup"))


def test_an_older_file_is_copied_before_it_is_migrated(path):
    path.parent.mkdir(mode=0o700)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE former (a)")
    connection.execute("INSERT INTO former VALUES (42)")
    connection.commit()
    connection.close()
    migrate.upgrade(path, builders.START)
    (backup,) = path.parent.glob("*.backup")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    connection = sqlite3.connect(backup)
    assert connection.execute("SELECT a FROM former").fetchall() == [(42,)]
    connection.close()


def test_what_was_told_of_an_instance_before_is_what_it_was(path):
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as connection:
        engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)
        with engine.connect() as former:
            command.upgrade(migrate.config(former), "0004")
            for name, online in (("here", 1), ("away", 0)):
                columns = "id, name, epoch, online, agent_version, boot_id, facts, created_at"
                row = (name, name, 1, online, "", "", "{}", "2026-01-01T00:00:00.000Z")
                former.exec_driver_sql(f"INSERT INTO instances ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            former.commit()
    connection.close()
    migrate.upgrade(path, builders.START)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name, announced FROM instances ORDER BY name").fetchall() == [
        ("away", 0),
        ("here", 1),
    ]
    connection.close()


def test_a_migration_that_fails_half_way_leaves_the_file_as_it_was(path):
    path.parent.mkdir(mode=0o700)
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE services (a)")  # in the way of a later step
    connection.commit()
    connection.close()
    with pytest.raises(sa.exc.OperationalError):
        migrate.upgrade(path, builders.START)
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.close()
    assert names == ["services"]


async def test_connections_are_durable_and_check_foreign_keys(path):
    opened = await store.open(path, builders.StillClock())
    async with opened.write() as tx:
        for pragma, value in (("synchronous", 2), ("foreign_keys", 1), ("journal_mode", "wal")):
            assert (await tx._connection.execute(sa.text(f"PRAGMA {pragma}"))).scalar() == value
    await opened.close()


async def test_a_database_that_is_busy_for_too_long_is_unavailable(path):
    opened = await store.open(path, builders.StillClock(), busy_ms=50)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(errors.UnavailableError, match="busy"):
        async with opened.write() as tx:
            await tx.put_setting("key", "value")
    other.execute("ROLLBACK")
    other.close()
    async with opened.write() as tx:
        await tx.put_setting("key", "value")
    await opened.close()


async def test_what_was_committed_is_there_after_opening_again(path):
    opened = await store.open(path, builders.StillClock())
    async with opened.write() as tx:
        await tx.insert_project(builders.a_project())
    await opened.close()
    again = await store.open(path, builders.StillClock())
    async with again.read() as tx:
        assert await tx.find_project("default") == builders.a_project()
    await again.close()
