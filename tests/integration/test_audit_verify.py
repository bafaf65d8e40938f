"""`audit verify` on a real database: what was changed by hand is found, with its place; what is whole is left alone."""

import json
import sqlite3

import pytest

from control_plane import __main__ as command
from control_plane import store
from control_plane.domain import audit
from control_plane.store import audit_file
from tests import builders

COUNT = 7


@pytest.fixture(autouse=True)
def _dumps_stay_allowed(monkeypatch):
    """The command is called in this process, which could never allow itself core dumps again."""
    monkeypatch.setattr(command.dumps, "forbid", lambda: None)


@pytest.fixture
async def path(tmp_path):
    """A closed database with a few entries of the audit."""
    path = tmp_path / "data" / "control-plane.db"
    opened = await store.open(path, builders.StillClock())
    async with opened.write() as tx:
        for number in range(COUNT):
            await tx.append_audit(an_entry(number))
    await opened.close()
    return path


def an_entry(number):
    return builders.values.AuditEntry(
        builders.START,
        "usr_1",
        "a@example.com",
        "192.0.2.1",
        "req_1",
        "x.done",
        f"x{number}",
        "",
        "said",
        {"n": number},
    )


@pytest.fixture
def verify(path, monkeypatch, capsys):
    """Runs the command; gives the exit code and what it wrote."""

    def run(*more):
        arguments = ["dployr-control-plane", "audit", "verify", "--data-dir", str(path.parent), *more]
        monkeypatch.setattr("sys.argv", arguments)
        code = command.main()
        written = capsys.readouterr()
        return code, written.out + written.err

    return run


def by_hand(path, *statements, guarded=False):
    """What somebody with the file does to it, without the triggers unless `guarded`."""
    connection = sqlite3.connect(path)
    try:
        if not guarded:
            connection.execute("DROP TRIGGER audit_no_update")
            connection.execute("DROP TRIGGER audit_no_delete")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    finally:
        connection.close()


def head_of(output):
    return output.split()[-1]


def test_a_whole_audit_holds_and_its_head_is_told(path, verify):
    code, said = verify()
    assert code == 0
    assert said.startswith(f"the audit holds: {COUNT} entries, head ")
    assert verify("--head", head_of(said))[0] == 0
    with audit_file.opened(path) as opened:
        assert audit.first_break(opened.entries(COUNT), COUNT) == ""


@pytest.mark.parametrize("statement", ["UPDATE audit SET summary = 'x' WHERE sequence = 3", "DELETE FROM audit"])
def test_the_database_itself_refuses_to_change_or_delete_an_entry(path, verify, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        by_hand(path, statement, guarded=True)
    assert verify()[0] == 0


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit SET summary = 'other' WHERE sequence = 3", "entry 3 was changed"),
        ("UPDATE audit SET data = '{\"n\": 9}' WHERE sequence = 4", "entry 4 was changed"),
        ("UPDATE audit SET data = 'no json' WHERE sequence = 4", "entry 4 was changed"),
        ("UPDATE audit SET at = 'never' WHERE sequence = 1", "entry 1 was changed"),
        ("UPDATE audit SET actor = 'usr_2', hash = '' WHERE sequence = 7", "entry 7 was changed"),
        ("DELETE FROM audit WHERE sequence = 5", "entry 5 is missing"),
        ("DELETE FROM audit WHERE sequence < 3", "entry 1 is missing"),
        ("UPDATE audit SET sequence = 99 WHERE sequence = 7", "entry 7 is missing"),
    ],
)
def test_an_entry_that_was_changed_or_taken_away_is_named(path, verify, statement, found):
    by_hand(path, statement)
    code, said = verify()
    assert code == 1
    assert found in said


def test_an_entry_that_was_put_in_is_named(path, verify):
    columns = "at, actor, actor_name, address, request_id, action, target, project_id, summary, data, previous, hash"
    by_hand(path, f"INSERT INTO audit (sequence, {columns}) SELECT 8, {columns} FROM audit WHERE sequence = 2")
    assert "entry 8 was changed" in verify()[1]


def test_an_end_that_was_cut_off_is_found_with_the_head_that_was_known(path, verify):
    head = head_of(verify()[1])
    by_hand(path, "DELETE FROM audit WHERE sequence > 5")
    assert verify()[0] == 0  # what is left is a chain: only who knows its end can miss the rest
    code, said = verify("--head", head)
    assert (code, "entries 6 to 7 are missing" in said) == (1, True)


def test_a_chain_that_was_written_again_is_found_with_the_head_that_was_known(path, verify):
    head = head_of(verify()[1])
    with audit_file.opened(path) as opened:
        entries = list(opened.entries(COUNT))
    previous, statements = audit.GENESIS, []
    for entry in entries:
        new = audit.linked(builders.dataclasses.replace(entry, actor="usr_2"), entry.sequence, previous)
        previous = new.hash
        statements.append(
            f"UPDATE audit SET actor = 'usr_2', previous = '{new.previous}', hash = '{new.hash}' "
            f"WHERE sequence = {entry.sequence}"
        )
    by_hand(path, *statements)
    assert verify()[0] == 0
    code, said = verify("--head", head)
    assert (code, "entry 7 is another one" in said) == (1, True)


def test_more_than_a_batch_is_walked_whole(path, verify, monkeypatch):
    monkeypatch.setattr(audit_file, "BATCH", 2)
    assert f"{COUNT} entries" in verify()[1]


async def test_a_running_daemon_goes_on_writing_meanwhile(path, verify):
    opened = await store.open(path, builders.StillClock(), busy_ms=50)
    with audit_file.opened(path) as reading:
        entries = reading.entries(COUNT)
        next(entries)
        async with opened.write() as tx:
            await tx.append_audit(an_entry(COUNT))
        assert audit.first_break(entries) == "entry 1 is missing"  # the first was taken off above
    assert f"{COUNT + 1} entries" in verify()[1]
    await opened.close()


def test_an_empty_audit_holds(path, verify):
    by_hand(path, "DELETE FROM audit")
    assert verify() == (0, f"the audit holds: 0 entries, head {audit.GENESIS}:0\n")
    assert verify("--head", f"{audit.GENESIS}:0")[0] == 0


def test_what_cannot_be_looked_at_is_another_exit_code(path, verify, tmp_path):
    assert verify("--data-dir", str(tmp_path / "none"))[0] == 2
    path.write_bytes(b"no database" * 100)
    code, said = verify()
    assert (code, "cannot read the audit" in said) == (2, True)
    for bad in ("x", "0" * 64, json.dumps({})):
        with pytest.raises(SystemExit):
            verify("--head", bad)
