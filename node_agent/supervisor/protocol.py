"""The door between agent and supervisor: frames on a unix socket, and the values in them.

A frame is a length (4 bytes, big endian) and a JSON object. Requests are `{"id", "verb", …}`, answers
`{"id", "ok"}` or `{"id", "error"}`; `{"event": "process", "service_id"}` comes unasked. Requests of one connection are
worked on side by side. Every decoder checks types, ids and names, and raises ProtocolError.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from node_agent import paths
from node_agent.model import disk, log_index, volume
from node_agent.model.crash import Crash, Kind
from node_agent.model.process import (
    PIPED,
    JobKind,
    JobResult,
    JobSpec,
    Limits,
    ProcessId,
    ProcessSpec,
    ProcessStatus,
    SupervisorInfo,
    Unwell,
    Usage,
)

FRAME_LIMIT = 16 << 20  # a list of 1,000 processes that all crashed with 50 long lines
HEADER = 4
NUMBER_LIMIT, PORT_LIMIT = 2**31, 2**16 - 1
MEMORY_LIMIT, CPU_LIMIT = 2**50, 1024
COMMITTED = frozenset({JobKind.RELEASE, JobKind.RUN, JobKind.CHECK, JobKind.CRON})  # they are told their commit
ADDRESS_LIMIT = 107  # bytes of a unix socket's path that the kernel takes

Frame = dict[str, Any]
T = TypeVar("T")


class ProtocolError(Exception):
    """What came over the socket cannot be read."""


def encode_frame(frame: Mapping[str, Any]) -> bytes:
    """The bytes of one frame. ProtocolError when it is too large."""
    body = json.dumps(frame, separators=(",", ":")).encode()
    if len(body) > FRAME_LIMIT:
        raise ProtocolError(f"cannot send a frame of {len(body)} bytes: {FRAME_LIMIT} are allowed")
    return len(body).to_bytes(HEADER, "big") + body


class FrameBuffer:
    """Turns bytes as they arrive into frames."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. After a ProtocolError the connection is of no use any more."""
        self._data += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._data) < HEADER:
            return None
        length = int.from_bytes(self._data[:HEADER], "big")
        if length > FRAME_LIMIT:
            raise ProtocolError(f"cannot read a frame of {length} bytes: {FRAME_LIMIT} are allowed")
        if len(self._data) < HEADER + length:
            return None
        body = bytes(self._data[HEADER : HEADER + length])
        del self._data[: HEADER + length]
        try:
            frame = json.loads(body)
        except (ValueError, RecursionError):
            raise ProtocolError("cannot read a frame: it is not JSON") from None
        if not isinstance(frame, dict):
            raise ProtocolError("cannot read a frame: it is not an object")
        return frame


@contextlib.contextmanager
def address(path: pathlib.Path) -> Iterator[str]:
    """A name for the socket at `path` that the kernel takes, however long the path is. Raises OSError."""
    if len(os.fsencode(path)) <= ADDRESS_LIMIT:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


# fields


def field(frame: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """`frame[name]`, which must be exactly of `kind` (an int will do for a float)."""
    value = frame.get(name)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ProtocolError(f"cannot read {name!r}: it must be {kind.__name__}")
    return value


def number(frame: Mapping[str, Any], name: str, most: int = NUMBER_LIMIT) -> int:
    """A whole number from 0 to `most`."""
    value = field(frame, name, int)
    if not 0 <= value <= most:
        raise ProtocolError(f"cannot read {name!r}: it must be between 0 and {most}")
    return value


def service_id(frame: Mapping[str, Any]) -> str:
    with _explained("service_id"):
        return paths.checked_id(field(frame, "service_id", str))


def process_id(frame: Mapping[str, Any]) -> ProcessId:
    """The id of a process, its parts fit to become names of files."""
    with _explained("process_id"):
        text = field(frame, "process_id", str)
        found = ProcessId.parse(text)
        paths.checked_id(found.service_id)
        if str(found) != text or not 0 <= found.release <= NUMBER_LIMIT or not 0 <= found.restart <= NUMBER_LIMIT:
            raise ValueError(f"cannot use {text!r} as a process id")
        if not paths.NAME.fullmatch(found.name) or len(found.name) > log_index.NAME_LIMIT or found.name == "build":
            raise ValueError(f"cannot use {found.name!r} as a process name")
        return found


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, ProtocolError) as error:
        raise ProtocolError(f"cannot read {name!r}: {error}") from error


def _pairs(frame: Mapping[str, Any], name: str) -> tuple[tuple[str, str], ...]:
    pairs = field(frame, name, list)
    if not all(isinstance(p, list) and len(p) == 2 and all(isinstance(word, str) for word in p) for p in pairs):
        raise ProtocolError(f"cannot read {name!r}: it must be a list of pairs of text")
    return tuple((key, value) for key, value in pairs)


def _texts(frame: Mapping[str, Any], name: str) -> tuple[str, ...]:
    texts = field(frame, name, list)
    if not all(isinstance(text, str) for text in texts):
        raise ProtocolError(f"cannot read {name!r}: it must be a list of text")
    return tuple(texts)


# values


def encode_process_spec(spec: ProcessSpec) -> Frame:
    return {
        "process_id": str(spec.id),
        "command": spec.command,
        "env": [list(pair) for pair in spec.env],
        "toolchain": spec.toolchain,
        "working_dir": spec.working_dir,
        "port": spec.port,
        "commit": spec.commit,
        "volumes": list(spec.volumes),
        "limits": _encode_limits(spec.limits),
    }


def decode_process_spec(frame: Mapping[str, Any]) -> ProcessSpec:
    return ProcessSpec(
        id=process_id(frame),
        command=field(frame, "command", str),
        env=_pairs(frame, "env"),
        toolchain=field(frame, "toolchain", str),
        working_dir=field(frame, "working_dir", str),
        port=number(frame, "port", PORT_LIMIT),
        commit=field(frame, "commit", str),
        limits=_limits(field(frame, "limits", dict)),
        volumes=_volumes(frame),
    )


def _volumes(frame: Mapping[str, Any]) -> tuple[str, ...]:
    """Names fit to become directories; none in a record from before there were any."""
    names = _texts(frame, "volumes") if "volumes" in frame else ()
    if not all(map(volume.is_name, names)) or len(names) > volume.MOST:
        raise ProtocolError("cannot read 'volumes': it must be a short list of names")
    return names


def _encode_limits(limits: Limits) -> Frame:
    return {
        "memory_bytes": limits.memory_bytes,
        "cpu": limits.cpu,
        "pids": limits.pids,
        "strict": limits.strict,
    }


def _limits(frame: Mapping[str, Any]) -> Limits:
    with _explained("limits"):
        limits = Limits(
            memory_bytes=number(frame, "memory_bytes", MEMORY_LIMIT),
            cpu=field(frame, "cpu", float),
            pids=number(frame, "pids"),
            strict=field(frame, "strict", bool),
        )
        if not 0 <= limits.cpu <= CPU_LIMIT:
            raise ValueError(f"limits.cpu must be between 0 and {CPU_LIMIT}")
        if problem := limits.problem():
            raise ValueError(problem)
        return limits


def encode_process_status(status: ProcessStatus) -> Frame:
    return {
        "process_id": str(status.id),
        "state": status.state,
        "pid": status.pid,
        "port": status.port,
        "started_at": status.started_at,
        "restarts": status.restarts,
        "last_exit": status.last_exit,
        "crash": encode_crash(status.crash),
    }


def decode_process_status(frame: Mapping[str, Any]) -> ProcessStatus:
    return ProcessStatus(
        id=process_id(frame),
        state=field(frame, "state", str),
        pid=field(frame, "pid", int),
        port=field(frame, "port", int),
        started_at=field(frame, "started_at", float),
        restarts=field(frame, "restarts", int),
        last_exit=field(frame, "last_exit", str),
        crash=decode_crash(frame),
    )


def encode_crash(crash: Crash | None) -> Frame | None:
    if crash is None:
        return None
    return {
        "kind": crash.kind.value,
        "code": crash.code,
        "words": crash.words,
        "at": crash.at,
        "ran_s": crash.ran_s,
        "cpu_s": crash.cpu_s,
        "max_rss_bytes": crash.max_rss_bytes,
        "lines": list(crash.lines),
    }


def decode_crash(frame: Mapping[str, Any]) -> Crash | None:
    """What `encode_crash` made of the field `crash`."""
    if "crash" in frame and frame["crash"] is None:
        return None
    found = field(frame, "crash", dict)
    with _explained("crash"):
        return Crash(
            kind=Kind(field(found, "kind", str)),
            code=field(found, "code", int),
            words=field(found, "words", str),
            at=field(found, "at", float),
            ran_s=field(found, "ran_s", float),
            cpu_s=field(found, "cpu_s", float),
            max_rss_bytes=field(found, "max_rss_bytes", int),
            lines=_texts(found, "lines"),
        )


def encode_unwell(process_id: ProcessId, unwell: Unwell) -> Frame:
    return {"process_id": str(process_id), "pid": unwell.pid, "words": unwell.words, "well_s": unwell.well_s}


def decode_unwell(frame: Mapping[str, Any]) -> Unwell:
    return Unwell(
        pid=number(frame, "pid"), words=field(frame, "words", str), well_s=max(0.0, field(frame, "well_s", float))
    )


def encode_usage(process_id: ProcessId, usage: Usage) -> Frame:
    return {
        "process_id": str(process_id),
        "memory_bytes": usage.memory_bytes,
        "cpu_s": usage.cpu_s,
        "pids": usage.pids,
        "oom_kills": usage.oom_kills,
    }


def decode_usage(frame: Mapping[str, Any]) -> tuple[ProcessId, Usage]:
    return process_id(frame), Usage(
        memory_bytes=field(frame, "memory_bytes", int),
        cpu_s=field(frame, "cpu_s", float),
        pids=field(frame, "pids", int),
        oom_kills=field(frame, "oom_kills", int),
    )


def encode_job_spec(job: JobSpec) -> Frame:
    """With its verb, which says what kind of job it is."""
    frame: Frame = {
        "verb": job.kind.value,
        "service_id": job.service_id,
        "release": job.release,
        "command": job.command,
        "env": [list(pair) for pair in job.env],
        "toolchain": job.toolchain,
        "working_dir": job.working_dir,
        "deadline_s": job.deadline_s,
    }
    if job.is_build and job.kind is not JobKind.RELEASE:
        return frame | ({"static": True} if job.static else {})
    return frame | {"commit": job.commit, "volumes": list(job.volumes)} | _own_fields(job)


def _own_fields(job: JobSpec) -> Frame:
    named = {"volume": job.volume} if job.volume else {}
    match job.kind:
        case JobKind.RELEASE:
            return {}
        case JobKind.CRON:
            return {"entry": job.entry, "minute": job.minute, "limits": _encode_limits(job.limits)}
        case kind if kind in PIPED:
            return named | {"run_id": job.run_id}
        case _:
            return named | {"port": job.port}


def decode_job_spec(frame: Mapping[str, Any]) -> JobSpec:
    with _explained("verb"):
        kind = JobKind(field(frame, "verb", str))
    return JobSpec(
        service_id=service_id(frame),
        release=number(frame, "release"),
        command=field(frame, "command", str),
        env=_pairs(frame, "env"),
        toolchain=field(frame, "toolchain", str),
        working_dir=field(frame, "working_dir", str),
        deadline_s=field(frame, "deadline_s", float),
        kind=kind,
        run_id=_run_id(frame) if kind in PIPED else "",
        commit=field(frame, "commit", str) if kind in COMMITTED else "",
        port=number(frame, "port", PORT_LIMIT) if kind is JobKind.CHECK else 0,
        static="static" in frame and field(frame, "static", bool),
        volumes=_volumes(frame),
        volume=_volume(frame) if "volume" in frame or kind in {JobKind.BACKUP, JobKind.RESTORE} else "",
        entry=_entry(frame) if kind is JobKind.CRON else "",
        minute=number(frame, "minute") if kind is JobKind.CRON else 0,
        limits=_limits(field(frame, "limits", dict)) if kind is JobKind.CRON else Limits(),
    )


def _volume(frame: Mapping[str, Any]) -> str:
    name = field(frame, "volume", str)
    if not volume.is_name(name):
        raise ProtocolError(f"cannot read 'volume': {name!r} is no name of a volume")
    return name


def _entry(frame: Mapping[str, Any]) -> str:
    found = field(frame, "entry", str)
    if not paths.CRON_ENTRY.fullmatch(found):
        raise ProtocolError(f"cannot read 'entry': {found[:40]!r} is no name of a cron entry")
    return found


def _run_id(frame: Mapping[str, Any]) -> str:
    with _explained("run_id"):
        return paths.checked_id(field(frame, "run_id", str))


def encode_job_result(result: JobResult) -> Frame:
    return {
        "outcome": result.outcome,
        "code": result.code,
        "duration_s": result.duration_s,
        "last_lines": list(result.last_lines),
    }


def decode_job_result(frame: Mapping[str, Any]) -> JobResult:
    return JobResult(
        outcome=field(frame, "outcome", str),
        code=field(frame, "code", int),
        duration_s=field(frame, "duration_s", float),
        last_lines=_texts(frame, "last_lines"),
    )


def decode_measured(found: object) -> dict[str, disk.Use]:
    """What `measure` answers: text, since the supervisor hands on what its program said."""
    try:
        rows = json.loads(str(found)).items()
        return {str(path): disk.Use(int(row[0]), int(row[1]), float(row[2])) for path, row in rows}
    except (ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ProtocolError(f"cannot read what was measured: {error}") from error


def encode_info(info: SupervisorInfo) -> Frame:
    return {
        "version": info.version,
        "boot_id": info.boot_id,
        "pid": info.pid,
        "capabilities": [list(pair) for pair in info.capabilities],
    }


def decode_info(frame: Mapping[str, Any]) -> SupervisorInfo:
    return SupervisorInfo(
        version=field(frame, "version", str),
        boot_id=field(frame, "boot_id", str),
        pid=field(frame, "pid", int),
        capabilities=_pairs(frame, "capabilities"),
    )
