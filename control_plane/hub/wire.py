"""Protobuf ↔ domain values, and error kinds → gRPC status, each said once. What an agent sends is a stranger's text.

Texts are cut, NULs dropped, numbers checked; who a message is about is decided by services, who sent it by the
certificate.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import grpc

from control_plane import errors
from control_plane.domain import origin, values
from protos import agent_pb2 as pb

ID = re.compile(r"[a-z]{3}_[0-9A-HJKMNP-TV-Z]{26}")
SPIFFE = re.compile(r"spiffe://dployr/instance/([a-z]{3}_[0-9A-HJKMNP-TV-Z]{26})")
MAX_WORD = 200
MAX_CRASH_LINES = 50
MAX_TEXT = 16 * 1024
MAX_ITEMS = 500
MAX_VALUE = 1000

STATUS: Mapping[errors.Kind, grpc.StatusCode] = {
    errors.Kind.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Kind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    errors.Kind.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    errors.Kind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    errors.Kind.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Kind.RATE_LIMITED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Kind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    errors.Kind.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Kind.MISMATCH: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Kind.STORAGE: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
RUN = {
    values.Run.RUNNING: pb.RUN_RUNNING,
    values.Run.STOPPED: pb.RUN_STOPPED,
    values.Run.REMOVED: pb.RUN_REMOVED,
}


def instance_of(auth_context: Mapping[str, Any]) -> str:
    """The instance that the client certificate names; UnauthenticatedError when it names none, or several."""
    named = [
        SPIFFE.fullmatch(bytes(name).decode("ascii", "replace")) for name in auth_context.get("peer_spiffe_id", ())
    ]
    if len(named) != 1 or named[0] is None:
        raise errors.UnauthenticatedError("cannot tell who calls: the client certificate names no instance; join again")
    return named[0].group(1)


def desired(wish: values.Desired) -> pb.HubMessage:
    """The wish for one service, as the agent reads it."""
    return pb.HubMessage(
        desired=pb.ServiceState(
            service_id=wish.service_id,
            generation=wish.generation,
            name=wish.name,
            run=RUN[wish.run],
            restart=wish.restart,
            release=_release(wish.release) if wish.release else None,
            routes=[_route(route) for route in wish.routes],
            cancelled=wish.cancelled,
            request_id=wish.request_id,
            pinned=wish.pinned,
            poll_s=wish.poll_s if wish.release and _follows_branch(wish.release.config) else 0,
        )
    )


def log_request(request_id: str, query: values.LogQuery) -> pb.HubMessage:
    return pb.HubMessage(
        logs=pb.LogRequest(
            request_id=request_id,
            service_id=query.service_id,
            tail=query.tail,
            follow=query.follow,
            after_seq=query.after_seq,
            source=query.source,
            release=query.release,
            since=query.since,
            until=query.until,
            grep=query.grep,
            stream=query.stream,
            process=query.process,
        )
    )


def log_cancel(request_id: str) -> pb.HubMessage:
    return pb.HubMessage(logs_cancel=pb.LogCancel(request_id=request_id))


def run_request(query: values.RunQuery | values.VolumeQuery) -> pb.HubMessage:
    if isinstance(query, values.VolumeQuery):
        return pb.HubMessage(
            volume=pb.VolumeRequest(
                run_id=query.run_id,
                service_id=query.service_id,
                volume=query.volume,
                archive=query.archive,
                timeout_s=query.timeout_s,
            )
        )
    return pb.HubMessage(
        run=pb.RunRequest(
            run_id=query.run_id, service_id=query.service_id, command=query.command, timeout_s=query.timeout_s
        )
    )


def run_cancel(run_id: str) -> pb.HubMessage:
    return pb.HubMessage(run_cancel=pb.RunCancel(run_id=run_id))


def run_output(piece: pb.RunPiece) -> values.RunOutput:
    return values.RunOutput(_word(piece.stream), piece.data, _word(piece.outcome), piece.code)


def log_line(line: pb.LogLine) -> values.LogLine:
    return values.LogLine(
        seq=line.seq,
        time=_seconds(line.time, "time"),
        stream=_word(line.stream),
        process=_word(line.process),
        release=line.release,
        line=line.line,
        gap_to=line.gap_to,
        late=line.late,
    )


def facts(host: pb.HostFacts) -> dict[str, Any]:
    """What the host says of itself, as the API shows it."""
    return {
        "hostname": _word(host.hostname),
        "os": _word(host.os),
        "cpus": host.cpus,
        "memory_bytes": _integer(host.memory_bytes, "memory_bytes"),
        "disk_bytes": _integer(host.disk_bytes, "disk_bytes"),
        "addresses": [_word(address) for address in host.addresses[:MAX_ITEMS]],
        "capabilities": _words(host.capabilities),
        "runtimes": _words(host.runtimes),
    }


def report(message: pb.StatusReport) -> values.ServiceReport:
    """Raises InvalidError when it cannot be meant."""
    if not ID.fullmatch(message.service_id):
        raise errors.InvalidError(
            f"cannot take report {message.sequence}: {message.service_id[:40]!r} is no service id"
        )
    _count(message.releases, message.processes, message.routes, message.cron)
    return values.ServiceReport(
        sequence=_integer(message.sequence, "sequence"),
        service_id=message.service_id,
        observed=values.Observed(
            generation=_integer(message.observed_generation, "observed_generation"),
            status=_word(message.status),
            health=_word(message.health),
            live_release=message.live_release,
            message=text(message.message),
            processes=tuple(_process(process) for process in message.processes),
            cron=tuple(_cron(entry) for entry in message.cron),
        ),
        releases=tuple(_release_report(release) for release in message.releases),
        routes=tuple(
            values.RouteReport(_word(route.id), _word(route.state), text(route.message)) for route in message.routes
        ),
        removed=message.removed,
        branch_head=_word(message.branch_head),
    )


def sample(instance_id: str, message: pb.Sample) -> values.Sample:
    """Raises InvalidError when the families are no JSON object."""
    try:
        families = json.loads(message.families_json or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise errors.InvalidError("cannot read the sample: families_json is not JSON") from error
    if not isinstance(families, dict):
        raise errors.InvalidError("cannot read the sample: families_json is not an object")
    return values.Sample(instance_id, _seconds(message.time, "time"), families, message.exposition)


def _release(release: values.Release) -> pb.Release:
    config = release.config
    return pb.Release(
        number=release.number,
        remote=config.remote,
        branch=config.branch,
        commit=release.commit or config.commit or release.archive,
        runtime=config.runtime,
        version=config.version,
        build_cmd=config.build_cmd,
        run_cmd=config.run_cmd,
        working_dir=config.working_dir,
        static_dir=config.static_dir,
        port=config.port,
        env={variable.key: variable.value for variable in config.env},
        health_check=_health_check(config.health_check),
        secret_keys=[variable.key for variable in config.env if variable.secret],
        build_of=release.build_of,
        source=config.source,
        archive=release.archive,
        git_token=config.git_token,
        git_key=config.deploy_key,
        git_host_key=config.git_host_key,
        submodules=config.submodules,
        replicas=config.replicas,
        resources=_resources(config.resources),
        strategy=_strategy(config.strategy),
        processes=dict(config.processes),
        process_replicas=dict(config.process_replicas),
        port_mode=config.port_mode,
        volumes=[pb.Volume(name=name, mount=mount) for name, mount in config.volumes],
        cron=[_entry(entry) for entry in config.cron],
        given=[name for name, of in origin.of_config(config).items() if of == "given"],
    )


def _health_check(check: values.HealthCheck) -> pb.HealthCheck:
    return pb.HealthCheck(
        kind=check.kind,
        path=check.path,
        interval_s=check.interval_s,
        timeout_s=check.timeout_s,
        retries=check.retries,
        start_period_s=check.start_period_s,
        command=check.command,
    )


def _resources(wanted: values.Resources) -> pb.Resources:
    return pb.Resources(
        memory_bytes=wanted.memory_bytes,
        cpu=wanted.cpu,
        pids=wanted.pids,
        disk_bytes=wanted.disk_bytes,
        strict=wanted.strict,
    )


def _strategy(wanted: values.Strategy) -> pb.Strategy:
    return pb.Strategy(
        kind=wanted.kind,
        weight=wanted.weight,
        steps=wanted.steps,
        interval_s=wanted.interval_s,
    )


def _entry(entry: values.CronEntry) -> pb.Cron:
    return pb.Cron(
        name=entry.name,
        schedule=entry.schedule,
        command=entry.command,
        overlap=entry.overlap,
        timeout_s=entry.timeout_s,
    )


def _follows_branch(config: values.Config) -> bool:
    """Can a push move what is deployed? Only the control plane knows whether the user pinned a commit."""
    return config.source == "remote" and not config.commit


def _route(route: values.Route) -> pb.Route:
    options = route.options
    return pb.Route(
        id=route.id,
        domain=route.domain,
        path=route.path,
        options=pb.RouteOptions(
            tls=options.tls,
            certificate=options.certificate,
            key=options.key,
            redirect_to=options.redirect_to,
            force_https=options.force_https,
            basic_auth=[pb.Pair(key=user, value=digest) for user, digest in options.basic_auth],
            headers=[pb.Pair(key=name, value=value) for name, value in options.headers],
            max_body_bytes=options.max_body_bytes,
            no_websocket=not options.websocket,
            maintenance=options.maintenance,
            weights=dict(options.weights),
        ),
    )


def _process(process: pb.ProcessReport) -> values.Process:
    return values.Process(
        name=_word(process.name),
        release=process.release,
        state=_word(process.state),
        pid=process.pid,
        port=process.port,
        started_at=_seconds(process.started_at, "started_at"),
        restarts=process.restarts,
        last_exit=_word(process.last_exit),
        crash=_crash(process.crash) if process.HasField("crash") else None,
    )


def _cron(entry: pb.CronReport) -> values.Cron:
    return values.Cron(
        name=_word(entry.name),
        schedule=_word(entry.schedule),
        next_at=_seconds(entry.next_at, "next_at"),
        last_started_at=_seconds(entry.last_started_at, "last_started_at"),
        last_outcome=_word(entry.last_outcome),
    )


def _crash(crash: pb.Crash) -> values.Crash:
    return values.Crash(
        kind=_word(crash.kind),
        code=crash.code,
        words=text(crash.words),
        at=_seconds(crash.at, "at"),
        ran_s=_seconds(crash.ran_s, "ran_s"),
        cpu_s=_seconds(crash.cpu_s, "cpu_s"),
        max_rss_bytes=_integer(crash.max_rss_bytes, "max_rss_bytes"),
        lines=tuple(_word(line) for line in crash.lines[:MAX_CRASH_LINES]),
    )


def _release_report(release: pb.ReleaseReport) -> values.ReleaseReport:
    return values.ReleaseReport(
        number=release.number,
        state=_word(release.state),
        reason=_word(release.reason),
        message=text(release.message),
        commit=_word(release.commit),
        changed_at=_seconds(release.changed_at, "changed_at"),
        decided=tuple(_decided(row) for row in release.decided[:MAX_ITEMS] if row.origin in origin.DECIDED),
    )


def _decided(row: pb.Decided) -> values.Decided:
    return values.Decided(_word(row.field), text(row.value)[:MAX_VALUE], row.origin, _word(row.reason))


def _count(*lists: Any) -> None:
    if any(len(items) > MAX_ITEMS for items in lists):
        raise errors.InvalidError(f"cannot take the report: more than {MAX_ITEMS} of one kind")


def _integer(value: int, field: str) -> int:
    if value >= 1 << 63:  # what a database column holds
        raise errors.InvalidError.field(f"cannot read {field}: {value} is too large", field, "too large")
    return value


def _seconds(value: float, field: str) -> float:
    if not math.isfinite(value) or not 0 <= value < 1e11:
        raise errors.InvalidError.field(f"cannot read {field}: {value} is not a time", field, "not a time")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _word(text: str) -> str:
    return text[:MAX_WORD].replace("\0", "")


def text(said: str) -> str:
    """What a stranger wrote, cut and without NULs."""
    return said[:MAX_TEXT].replace("\0", "")


def _words(texts: Mapping[str, str]) -> dict[str, str]:
    return {_word(key): text(texts[key]) for key in sorted(texts)[:MAX_ITEMS]}
