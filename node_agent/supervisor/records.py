"""One JSON file per process: what a new supervisor must know of it. Replaced atomically, before and after each spawn."""

import contextlib
import dataclasses
import json
import pathlib
from typing import Any

from node_agent import atomic
from node_agent.model import process_state, restart
from node_agent.model.process import ProcessSpec
from node_agent.supervisor import protocol
from node_agent.supervisor.loop import note
from node_agent.supervisor.protocol import field

FORMAT = 1
SUFFIX = ".json"


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """`started_ticks` and `boot_id` say which process `pid` was; `grace_s` below 0: it is wished to run."""

    spec: ProcessSpec
    state: process_state.State
    pid: int = 0
    started_ticks: int = 0
    boot_id: str = ""
    started_at: float = 0.0
    started_monotonic: float = 0.0
    restarts: int = 0
    last_exit: str = ""
    last_lines: tuple[str, ...] = ()
    history: restart.History = dataclasses.field(default_factory=restart.History)
    grace_s: float = -1.0


class Records:
    """The directory of records. Writing raises OSError."""

    def __init__(self, directory: pathlib.Path) -> None:
        self._directory = directory

    def save(self, record: Record) -> None:
        atomic.write_text(self._file(str(record.spec.id)), json.dumps(_encode(record)))

    def remove(self, process_id: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._file(process_id).unlink()

    def load(self) -> list[Record]:
        """All that can be read; one that cannot is noted and left for a person to look at."""
        found = []
        for file in sorted(self._directory.glob(f"[!.]*{SUFFIX}")):
            try:
                found.append(_decode(json.loads(file.read_text())))
            except (OSError, ValueError, TypeError, protocol.ProtocolError) as error:
                note("record.unreadable", file=file.name, error=error)
        return found

    def _file(self, process_id: str) -> pathlib.Path:
        return self._directory / f"{process_id}{SUFFIX}"


def _encode(record: Record) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "spec": protocol.encode_process_spec(record.spec),
        "state": record.state.value,
        "pid": record.pid,
        "started_ticks": record.started_ticks,
        "boot_id": record.boot_id,
        "started_at": record.started_at,
        "started_monotonic": record.started_monotonic,
        "restarts": record.restarts,
        "last_exit": record.last_exit,
        "last_lines": record.last_lines,
        "failures": record.history.failures,
        "recent": record.history.recent,
        "looping": record.history.looping,
        "grace_s": record.grace_s,
    }


def _decode(found: Any) -> Record:
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise ValueError(f"it is not of format {FORMAT}")
    recent = tuple(float(at) for at in field(found, "recent", list))
    return Record(
        spec=protocol.decode_process_spec(field(found, "spec", dict)),
        state=process_state.State(field(found, "state", str)),
        pid=field(found, "pid", int),
        started_ticks=field(found, "started_ticks", int),
        boot_id=field(found, "boot_id", str),
        started_at=field(found, "started_at", float),
        started_monotonic=field(found, "started_monotonic", float),
        restarts=field(found, "restarts", int),
        last_exit=field(found, "last_exit", str),
        last_lines=tuple(str(line) for line in field(found, "last_lines", list)),
        history=restart.History(field(found, "failures", int), recent, field(found, "looping", bool)),
        grace_s=field(found, "grace_s", float),
    )
