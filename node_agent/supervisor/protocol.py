"""The values in the frames between agent and supervisor. Every decoder checks what it reads, and raises ProtocolError.

What is said of jobs stands in job_protocol.py.
"""

import json
from collections.abc import Mapping
from typing import Any

from node_agent.model import disk, volume
from node_agent.model.crash import Crash, Kind
from node_agent.model.process import Limits, ProcessId, ProcessSpec, ProcessStatus, SupervisorInfo, Unwell, Usage
from node_agent.supervisor.frames import (
    PORT_LIMIT,
    Frame,
    ProtocolError,
    explained,
    field,
    number,
    pairs,
    process_id,
    texts,
)

MEMORY_LIMIT, CPU_LIMIT = 2**50, 1024


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
        "limits": encode_limits(spec.limits),
    }


def decode_process_spec(frame: Mapping[str, Any]) -> ProcessSpec:
    return ProcessSpec(
        id=process_id(frame),
        command=field(frame, "command", str),
        env=pairs(frame, "env"),
        toolchain=field(frame, "toolchain", str),
        working_dir=field(frame, "working_dir", str),
        port=number(frame, "port", PORT_LIMIT),
        commit=field(frame, "commit", str),
        limits=decode_limits(field(frame, "limits", dict)),
        volumes=decode_volumes(frame),
    )


def decode_volumes(frame: Mapping[str, Any]) -> tuple[str, ...]:
    """Names fit to become directories; none in a record from before there were any."""
    names = texts(frame, "volumes") if "volumes" in frame else ()
    if not all(map(volume.is_name, names)) or len(names) > volume.MOST:
        raise ProtocolError("cannot read 'volumes': it must be a short list of names")
    return names


def encode_limits(limits: Limits) -> Frame:
    return {
        "memory_bytes": limits.memory_bytes,
        "cpu": limits.cpu,
        "pids": limits.pids,
        "strict": limits.strict,
    }


def decode_limits(frame: Mapping[str, Any]) -> Limits:
    with explained("limits"):
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
    with explained("crash"):
        return Crash(
            kind=Kind(field(found, "kind", str)),
            code=field(found, "code", int),
            words=field(found, "words", str),
            at=field(found, "at", float),
            ran_s=field(found, "ran_s", float),
            cpu_s=field(found, "cpu_s", float),
            max_rss_bytes=field(found, "max_rss_bytes", int),
            lines=texts(found, "lines"),
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
        capabilities=pairs(frame, "capabilities"),
    )
