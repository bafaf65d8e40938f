"""The peer of `make bench-api`: a bare Flask app on sqlite3, with the same rows and commits, on the same server.

    python -m benchmarks.bare_app DATABASE < the rows, a JSON list of what GET /v1/services shows; prints its port

No login, no permissions, no checks, no layers: what Flask, SQLite and the server cost by themselves. Reads and commits are
set up as the control plane's are: WAL, synchronous=FULL, one transaction per POST that changes a row and adds another.
"""

import asyncio
import json
import pathlib
import signal
import sqlite3
import sys
import threading
from typing import Any

import flask

from control_plane.web import server

COLUMNS = (
    "id", "name", "deployment_id", "instance_id", "desired", "status", "health", "live_release", "generation",
    "observed_generation", "message", "processes", "created_at", "updated_at",
)  # fmt: skip
QUERY = f"SELECT {', '.join(COLUMNS)} FROM services ORDER BY created_at, id LIMIT 51"


class Database:
    """A connection per thread; one writer at a time."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._local = threading.local()
        self.writing = threading.Lock()

    def connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._local.connection = sqlite3.connect(self._path, isolation_level=None)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "foreign_keys=ON"):
                found.execute(f"PRAGMA {pragma}")
        return found


def filled(path: pathlib.Path, rows: list[dict[str, Any]]) -> Database:
    database = Database(path)
    connection = database.connection()
    connection.execute(f"CREATE TABLE services ({', '.join(COLUMNS)}, PRIMARY KEY (id))")
    connection.execute("CREATE INDEX services_order ON services (created_at, id)")
    connection.execute("CREATE TABLE audit (id INTEGER PRIMARY KEY, at, actor, action, target, data)")
    for row in rows:
        values = [json.dumps(row[name]) if name == "processes" else row[name] for name in COLUMNS]
        connection.execute(f"INSERT INTO services VALUES ({', '.join('?' * len(COLUMNS))})", values)
    return database


def app_of(database: Database) -> flask.Flask:
    app = flask.Flask("bare", static_folder=None)

    def shape(row: tuple[Any, ...]) -> dict[str, Any]:
        found = dict(zip(COLUMNS, row, strict=True))
        return {**found, "processes": json.loads(found["processes"])}

    @app.get("/v1/services")
    def index() -> flask.Response:
        rows = database.connection().execute(QUERY).fetchall()
        return flask.jsonify({"data": [shape(row) for row in rows[:50]], "next_cursor": None})

    @app.post("/v1/services/<service_id>/restart")
    def restart(service_id: str) -> tuple[flask.Response, int]:
        connection = database.connection()
        with database.writing:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE services SET generation = generation + 1 WHERE id = ?", (service_id,))
            connection.execute(
                "INSERT INTO audit (at, actor, action, target, data) VALUES (datetime(), 'usr', 'service.restart', ?, '{}')",
                (service_id,),
            )
            row = connection.execute(
                f"SELECT {', '.join(COLUMNS)} FROM services WHERE id = ?", (service_id,)
            ).fetchone()
            connection.execute("COMMIT")
        return flask.jsonify(shape(row)), 202

    return app


async def run(app: flask.Flask) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await server.serve(app, "127.0.0.1", 0, stop, lambda port: print(port, flush=True))


def main() -> int:
    rows = json.loads(sys.stdin.readline())
    asyncio.run(run(app_of(filled(pathlib.Path(sys.argv[1]), rows))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
