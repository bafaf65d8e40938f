"""A data directory of a former version is taken over as it is."""

import contextlib
import pathlib
import sqlite3

from node_agent import former_places
from node_agent.paths import Paths


def test_journal_and_identity_move_to_the_agents_own_place_once(tmp_path: pathlib.Path) -> None:
    paths = Paths(tmp_path)
    (tmp_path / "identity").mkdir()
    (tmp_path / "identity" / "key.pem").write_text("key")
    with contextlib.closing(sqlite3.connect(tmp_path / "journal.db")) as former:
        former.execute("PRAGMA journal_mode=WAL")
        former.execute("CREATE TABLE wishes (name)")
        former.execute("INSERT INTO wishes VALUES ('kept')")
        former.commit()
        former_places.leave(paths)  # while it is open, and its newest pages are beside it
    former_places.leave(paths)
    assert {entry.name for entry in tmp_path.iterdir()} == {"agent"}
    assert (paths.identity / "key.pem").read_text() == "key"
    with contextlib.closing(sqlite3.connect(paths.journal)) as now:
        assert now.execute("SELECT name FROM wishes").fetchall() == [("kept",)]


def test_a_new_directory_has_the_place_at_once(tmp_path: pathlib.Path) -> None:
    paths = Paths(tmp_path / "new")
    former_places.leave(paths)
    assert paths.own.is_dir()
    assert paths.own.stat().st_mode & 0o777 == 0o700
