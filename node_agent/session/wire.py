"""Protobuf ↔ the model of the host side. What cannot be meant, or is not known yet, is read as None and ignored."""

import math
import re

from node_agent import paths, ports
from node_agent.model import log, run, spec, status, volume
from node_agent.model.crash import Crash
from protos import agent_pb2 as pb

MAX_TEXT = 16 * 1024
MAX_VALUE, MAX_DECIDED = 1000, 500
ARCHIVE = re.compile(r"([0-9a-f]{64})?")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
RUN = {pb.RUN_RUNNING: spec.Run.RUNNING, pb.RUN_STOPPED: spec.Run.STOPPED, pb.RUN_REMOVED: spec.Run.REMOVED}


def wish(state: pb.ServiceState) -> spec.ServiceSpec | None:
    """None for a word of a newer control plane, and for an id that must not become a path."""
    wanted = RUN.get(state.run)
    if wanted is None or not _ids_are_ours(state) or not 0 < state.generation < 1 << 63:
        return None
    release = _release(state.release) if state.HasField("release") else None
    if release is None and wanted is not spec.Run.REMOVED:
        return None
    return spec.ServiceSpec(
        service_id=state.service_id,
        generation=state.generation,
        name=state.name,
        run=wanted,
        restart=state.restart,
        release=release,
        routes=tuple(_route(route) for route in state.routes),
        cancelled=state.cancelled,
        poll_s=state.poll_s,
        pinned=tuple(state.pinned),
    )


def request_id(state: pb.ServiceState) -> str | None:
    """The id of the request behind a wish, when it is one that may stand in a log."""
    return state.request_id if REQUEST_ID.fullmatch(state.request_id) else None


def hello(version: str, boot_id: str, generations: dict[str, int], host: ports.HostFacts) -> pb.AgentMessage:
    facts = pb.HostFacts(
        hostname=host.hostname,
        os=host.os,
        cpus=host.cpus,
        memory_bytes=host.memory_bytes,
        disk_bytes=host.disk_bytes,
        addresses=host.addresses,
        capabilities=dict(host.capabilities),
        runtimes=dict(host.runtimes),
    )
    return pb.AgentMessage(
        hello=pb.Hello(agent_version=version, protocol=1, boot_id=boot_id, generations=generations, host=facts)
    )


def ack(service_id: str, generation: int) -> pb.AgentMessage:
    return pb.AgentMessage(ack=pb.Ack(service_id=service_id, generation=generation))


def heartbeat() -> pb.AgentMessage:
    return pb.AgentMessage(heartbeat=pb.Heartbeat())


def report(sequence: int, said: status.ServiceReport) -> pb.AgentMessage:
    message = pb.StatusReport(
        sequence=sequence,
        service_id=said.service_id,
        observed_generation=said.observed_generation,
        status=said.status,
        health=said.health,
        live_release=said.live_release,
        message=text(said.message),
        releases=[_release_report(release) for release in said.releases],
        processes=[_process(process) for process in said.processes],
        routes=[pb.RouteReport(id=r.id, state=r.state, message=text(r.message)) for r in said.routes],
        removed=said.removed,
        branch_head=said.branch_head,
        cron=[_cron_report(entry) for entry in said.cron],
    )
    return pb.AgentMessage(report=message)


def sample(measured: ports.HostSample) -> pb.Sample:
    return pb.Sample(time=measured.time, families_json=measured.families_json, exposition=measured.exposition)


def log_query(request: pb.LogRequest) -> log.LogQuery:
    return log.LogQuery(
        service_id=request.service_id,
        tail=request.tail,
        follow=request.follow,
        after_seq=request.after_seq,
        source=request.source,
        release=request.release,
        since=request.since,
        until=request.until,
        grep=request.grep.encode(),
        stream=request.stream,
        process=request.process,
    )


def is_meant(request: pb.RunRequest | pb.VolumeRequest) -> bool:
    """Are its ids, and the name of its volume, fit to become paths?"""
    named = isinstance(request, pb.RunRequest) or (
        volume.is_name(request.volume) and ARCHIVE.fullmatch(request.archive) is not None
    )
    return named and all(paths.ID.fullmatch(each) for each in (request.run_id, request.service_id))


def run_spec(request: pb.RunRequest | pb.VolumeRequest) -> run.RunSpec | run.VolumeSpec:
    timeout_s = request.timeout_s if math.isfinite(request.timeout_s) else 0.0
    if isinstance(request, pb.VolumeRequest):
        return run.VolumeSpec(request.run_id, request.service_id, request.volume, request.archive, timeout_s)
    return run.RunSpec(request.run_id, request.service_id, request.command, timeout_s)


def log_batch(request_id: str, batch: log.LogBatch) -> pb.LogBatch:
    lines = [
        pb.LogLine(
            seq=line.seq,
            time=line.time,
            stream=line.stream,
            process=line.process,
            release=line.release,
            line=line.line,
            gap_to=line.gap_to,
            late=line.late,
        )
        for line in batch.lines
    ]
    return pb.LogBatch(request_id=request_id, lines=lines, caught_up=batch.caught_up)


def _ids_are_ours(state: pb.ServiceState) -> bool:
    return all(paths.ID.fullmatch(each) for each in (state.service_id, *(route.id for route in state.routes)))


def _release(release: pb.Release) -> spec.ReleaseSpec | None:
    try:
        runtime = spec.Runtime(release.runtime)
    except ValueError:
        return None
    check = release.health_check
    seconds = (check.interval_s, check.timeout_s, check.start_period_s, release.strategy.interval_s)
    numbers = (*seconds, release.resources.cpu, *(entry.timeout_s for entry in release.cron))
    volumes = tuple(sorted((one.name, one.mount) for one in release.volumes))
    if not volume.are_good(volumes) or not all(paths.CRON_ENTRY.fullmatch(entry.name) for entry in release.cron):
        return None
    if release.number == 0 or not all(math.isfinite(value) and value >= 0 for value in numbers):
        return None
    return spec.ReleaseSpec(
        number=release.number,
        remote=release.remote,
        branch=release.branch,
        commit=release.commit,
        runtime=runtime,
        version=release.version,
        build_cmd=release.build_cmd,
        run_cmd=release.run_cmd,
        working_dir=release.working_dir,
        static_dir=release.static_dir,
        port=release.port,
        env=tuple(sorted(release.env.items())),
        health_check=_health_check(release),
        secret_keys=tuple(sorted(release.secret_keys)),
        build_of=release.build_of,
        source=release.source or "remote",
        archive=release.archive,
        git_token=release.git_token,
        git_key=release.git_key,
        git_host_key=release.git_host_key,
        submodules=release.submodules,
        replicas=release.replicas or 1,
        resources=_resources(release.resources),
        strategy=_strategy(release.strategy),
        processes=tuple(sorted(release.processes.items())),
        process_replicas=tuple(sorted(release.process_replicas.items())),
        port_mode=release.port_mode or "env",
        volumes=volumes,
        given=tuple(sorted(release.given)),
        cron=tuple(sorted(map(_entry, release.cron), key=lambda entry: entry.name)),
    )


def _entry(entry: pb.Cron) -> spec.CronEntry:
    usual = spec.CronEntry("", "", "")
    return spec.CronEntry(
        entry.name, entry.schedule, entry.command, entry.overlap or usual.overlap, entry.timeout_s or usual.timeout_s
    )


def _resources(limits: pb.Resources) -> spec.Resources:
    return spec.Resources(limits.memory_bytes, limits.cpu, limits.pids, limits.disk_bytes, limits.strict)


def _strategy(strategy: pb.Strategy) -> spec.Strategy:
    return spec.Strategy(strategy.kind or "rolling", strategy.weight, tuple(strategy.steps), strategy.interval_s)


def _route(route: pb.Route) -> spec.RouteSpec:
    """A control plane that knows no options sends none: then each has its default."""
    options = route.options
    return spec.RouteSpec(
        route.id,
        route.domain,
        route.path or "/",
        spec.RouteOptions(
            tls=options.tls or "off",
            certificate=options.certificate,
            key=options.key,
            redirect_to=options.redirect_to,
            force_https=options.force_https,
            basic_auth=tuple((pair.key, pair.value) for pair in options.basic_auth),
            headers=tuple((pair.key, pair.value) for pair in options.headers),
            max_body_bytes=options.max_body_bytes or spec.RouteOptions().max_body_bytes,
            websocket=not options.no_websocket,
            maintenance=options.maintenance,
            weights=tuple(sorted(options.weights.items())),
        ),
    )


def _health_check(release: pb.Release) -> spec.HealthCheck:
    if not release.HasField("health_check"):
        return spec.HealthCheck()
    check = release.health_check
    return spec.HealthCheck(
        kind=check.kind,
        path=check.path,
        interval_s=check.interval_s,
        timeout_s=check.timeout_s,
        retries=check.retries,
        start_period_s=check.start_period_s,
        command=check.command,
    )


def _release_report(release: status.ReleaseReport) -> pb.ReleaseReport:
    return pb.ReleaseReport(
        number=release.number,
        state=release.state.value,
        reason=release.reason,
        message=text(release.message),
        commit=release.commit,
        changed_at=release.changed_at,
        decided=[
            pb.Decided(field=row.field, value=_shown(row.value), origin=row.origin, reason=text(row.reason))
            for row in release.decided[:MAX_DECIDED]
        ],
    )


def _cron_report(entry: status.CronReport) -> pb.CronReport:
    return pb.CronReport(
        name=entry.name,
        schedule=entry.schedule,
        next_at=entry.next_at,
        last_started_at=entry.last_started_at,
        last_outcome=text(entry.last_outcome)[:MAX_VALUE],
    )


def _process(process: status.ProcessReport) -> pb.ProcessReport:
    return pb.ProcessReport(
        name=process.name,
        release=process.release,
        state=process.state,
        pid=process.pid,
        port=process.port,
        started_at=process.started_at,
        restarts=process.restarts,
        last_exit=process.last_exit,
        crash=_crash(process.crash) if process.crash else None,
    )


def _crash(crash: Crash) -> pb.Crash:
    return pb.Crash(
        kind=crash.kind.value,
        code=crash.code,
        words=text(crash.words),
        at=crash.at,
        ran_s=crash.ran_s,
        cpu_s=crash.cpu_s,
        max_rss_bytes=crash.max_rss_bytes,
        lines=map(text, crash.lines),
    )


def _shown(value: str) -> str:
    """For people: a long one says that it goes on."""
    return text(value if len(value) <= MAX_VALUE else f"{value[: MAX_VALUE - 1]}…")


def text(said: str) -> str:
    """Cut: a report that is longer than a message may be would never arrive."""
    return said[:MAX_TEXT].encode("utf-8", "replace").decode()
