"""Jobs in the frames between agent and supervisor: what is to run, and how it ended. See protocol.py."""

from collections.abc import Mapping
from typing import Any

from node_agent import paths
from node_agent.model import volume
from node_agent.model.process import PIPED, JobKind, JobResult, JobSpec, Limits
from node_agent.supervisor import protocol
from node_agent.supervisor.frames import (
    PORT_LIMIT,
    Frame,
    ProtocolError,
    explained,
    field,
    number,
    pairs,
    service_id,
    texts,
)

COMMITTED = frozenset({JobKind.RELEASE, JobKind.RUN, JobKind.CHECK, JobKind.CRON})  # they are told their commit


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
    if job.kind in COMMITTED:
        frame |= {"commit": job.commit}
    if job.kind in COMMITTED | PIPED:
        frame |= {"volumes": list(job.volumes)}
    return frame | _own_fields(job)


def _own_fields(job: JobSpec) -> Frame:
    match job.kind:
        case JobKind.CHECK:
            return {"port": job.port}
        case JobKind.CRON:
            return {"entry": job.entry, "minute": job.minute, "limits": protocol.encode_limits(job.limits)}
        case kind if kind in PIPED:
            return {"run_id": job.run_id} | ({"volume": job.volume} if job.volume else {})
        case _:
            return ({"static": True} if job.static else {}) | ({"volume": job.volume} if job.volume else {})


def decode_job_spec(frame: Mapping[str, Any]) -> JobSpec:
    with explained("verb"):
        kind = JobKind(field(frame, "verb", str))
    return JobSpec(
        service_id=service_id(frame),
        release=number(frame, "release"),
        command=field(frame, "command", str),
        env=pairs(frame, "env"),
        toolchain=field(frame, "toolchain", str),
        working_dir=field(frame, "working_dir", str),
        deadline_s=field(frame, "deadline_s", float),
        kind=kind,
        run_id=_run_id(frame) if kind in PIPED else "",
        commit=field(frame, "commit", str) if kind in COMMITTED else "",
        port=number(frame, "port", PORT_LIMIT) if kind is JobKind.CHECK else 0,
        static="static" in frame and field(frame, "static", bool),
        volumes=protocol.decode_volumes(frame),
        volume=_volume(frame) if "volume" in frame or kind in {JobKind.BACKUP, JobKind.RESTORE} else "",
        entry=_entry(frame) if kind is JobKind.CRON else "",
        minute=number(frame, "minute") if kind is JobKind.CRON else 0,
        limits=protocol.decode_limits(field(frame, "limits", dict)) if kind is JobKind.CRON else Limits(),
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
    with explained("run_id"):
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
        last_lines=texts(frame, "last_lines"),
    )
