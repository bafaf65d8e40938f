"""Where former versions kept what has a place of the agent's own now. Called at each start of either daemon."""

import contextlib

from node_agent.paths import Paths

NAMES = ("identity", "journal.db", "journal.db-wal", "journal.db-shm")


def leave(paths: Paths) -> None:
    """Move it, unless that was done. Raises OSError."""
    paths.own.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in NAMES:
        with contextlib.suppress(FileNotFoundError):
            (paths.root / name).rename(paths.own / name)
