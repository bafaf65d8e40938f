"""The one implementation of ports.Store: SQLAlchemy Core on SQLite. Rows become values here and nowhere else."""

from control_plane.store.database import SqlStore, open_store

open = open_store  # noqa: A001 — callers say store.open(path, clock)

__all__ = ["SqlStore", "open", "open_store"]
