"""One file per process: what a new supervisor must know of it. Each line is a checksum and JSON; the last one counts.

What a person or a disk changed is never believed: the line before it counts, and a file without any is set aside. Its
process is found by its cage or marker.
"""

import contextlib
import dataclasses
import pathlib
from typing import Any

import failpoints
from node_agent import atomic
from node_agent.model import process_state, restart
from node_agent.model.crash import Crash
from node_agent.model.process import ProcessSpec
from node_agent.supervisor import checked, frames, protocol
from node_agent.supervisor.frames import field
from node_agent.supervisor.loop import Loop, note

FORMAT = 2
SUFFIX, DAMAGED = ".json", ".damaged"
SIZE_LIMIT = 64 << 10  # then only the last line is kept


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """`started_ticks` and `boot_id` say which process `pid` was; `grace_s` below 0: it is wished to run.

    `started_monotonic`, `retry_at` and the times of `history` mean something in the boot of `boot_id` only.
    """

    spec: ProcessSpec
    state: process_state.State
    pid: int = 0
    started_ticks: int = 0
    boot_id: str = ""
    started_at: float = 0.0
    started_monotonic: float = 0.0
    restarts: int = 0
    last_exit: str = ""
    crash: Crash | None = None
    history: restart.History = dataclasses.field(default_factory=restart.History)
    retry_at: float = 0.0
    grace_s: float = -1.0

    @property
    def is_between(self) -> bool:
        """Was this written just before a spawn, so that the process may run and nobody knows its pid?"""
        return self.state is process_state.State.STARTING and not self.pid


class Records:
    """The directory of records. Writing raises OSError."""

    def __init__(self, loop: Loop, directory: pathlib.Path) -> None:
        self._loop, self._directory = loop, directory
        self._sizes: dict[str, int] = {}
        self._unflushed = False

    @failpoints.around("record.save")
    def save(self, record: Record, *, durable: bool = False) -> None:
        """For the next supervisor; `durable`: also for the one after a power failure.

        Where a process runs, and since when, is worth nothing after that: it costs no flush.
        """
        process_id = str(record.spec.id)
        file, line = self._file(process_id), encode(record)
        if self._sizes.get(process_id, 0) > SIZE_LIMIT + len(line):
            atomic.write_bytes(file, line)
            self._sizes[process_id] = len(line)
            return
        self._sizes[process_id] = atomic.append(file, line, flushed=durable)
        if durable and not self._unflushed:
            self._unflushed = True
            self._loop.later(0.0, self._flush)  # once for all that are written in this pass of the loop

    def remove(self, process_id: str) -> None:
        self._sizes.pop(process_id, None)
        with contextlib.suppress(FileNotFoundError):
            self._file(process_id).unlink()

    def load(self) -> list[Record]:
        """All that can be believed; the others are set aside for a person to look at."""
        found = []
        for file in sorted(self._directory.glob(f"[!.]*{SUFFIX}")):
            try:
                found.append(self._load(file))
            except (OSError, ValueError) as error:
                note("record.damaged", file=file.name, error=error)
                with contextlib.suppress(OSError):
                    file.rename(file.with_name(f"{file.name}{DAMAGED}"))
        return found

    def _load(self, file: pathlib.Path) -> Record:
        data = file.read_bytes()
        record = newest(data)
        process_id = str(record.spec.id)
        if file != self._file(process_id):
            raise ValueError(f"it speaks of {process_id}")
        torn = not data.endswith(encode(record))
        self._sizes[process_id] = 2 * SIZE_LIMIT + len(data) if torn else len(data)  # a torn one is written anew
        return record

    def _flush(self) -> None:
        self._unflushed = False
        atomic.flush_directory(self._directory)

    def _file(self, process_id: str) -> pathlib.Path:
        return self._directory / f"{process_id}{SUFFIX}"


def encode(record: Record) -> bytes:
    """One line."""
    return checked.encode(_encoded(record))


def newest(data: bytes) -> Record:
    """What the last good line of a file says. ValueError when there is none."""
    for line in reversed(data.split(b"\n")):
        with contextlib.suppress(ValueError, TypeError, frames.ProtocolError):
            return _decoded(checked.decode(line))
    raise ValueError("no line has its checksum")


def _encoded(record: Record) -> dict[str, Any]:
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
        "crash": protocol.encode_crash(record.crash),
        "failures": record.history.failures,
        "recent": record.history.recent,
        "looping": record.history.looping,
        "retry_at": record.retry_at,
        "grace_s": record.grace_s,
    }


def _decoded(found: Any) -> Record:
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
        crash=protocol.decode_crash(found),
        history=restart.History(field(found, "failures", int), recent, field(found, "looping", bool)),
        retry_at=field(found, "retry_at", float),
        grace_s=field(found, "grace_s", float),
    )
