"""What clients get: the response models of the contract, and how our values become them."""

import datetime
import functools
from typing import Any, Literal

import pydantic

from control_plane import clock
from control_plane.domain import origin, values


class Shape(pydantic.BaseModel):
    """A response body."""


class ErrorBody(Shape):
    code: str
    message: str
    details: dict[str, Any]


class ErrorEnvelope(Shape):
    """Every error has this form."""

    error: ErrorBody
    request_id: str


class Tokens(Shape):
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme


class Me(Shape):
    """`permissions` by project id; under the empty id those that concern no project."""

    id: str
    email: str
    operator: bool
    permissions: dict[str, list[str]]


class HealthCheckShape(Shape):
    kind: str
    path: str
    command: str
    interval: float
    timeout: float
    retries: int
    start_period: float


class ResourcesShape(Shape):
    """Limits of each process; null is none. Sizes in bytes."""

    memory: int | None
    cpu: float | None
    pids: int | None
    disk: int | None
    strict: bool


class StrategyShape(Shape):
    kind: str
    weight: int
    steps: list[int]
    interval: float


class PlacementShape(Shape):
    labels: dict[str, str]


class ConfigShape(Shape):
    """What is declared. Of secrets only the keys, of the token for git whether there is one.

    `sources` says of each field where its value came from: somebody gave it, or it is the default.
    """

    source: str
    remote: str
    branch: str
    git_token_set: bool
    runtime: str
    version: str
    build_cmd: str
    run_cmd: str
    processes: dict[str, str]
    working_dir: str
    static_dir: str
    port: int
    env: dict[str, str]
    secret_keys: list[str]
    health_check: HealthCheckShape
    replicas: int
    resources: ResourcesShape
    strategy: StrategyShape
    placement: PlacementShape
    labels: dict[str, str]
    description: str
    sources: dict[str, Literal["given", "default"]]


class DeploymentShape(ConfigShape):
    """`project` is the name of the project, as it is declared. `commit` is that of the newest release; `commit_pinned` when it was declared. `url` is the first of `urls`.

    `pending_changes`: what is declared waits for the next release. `warnings` tell what has no effect where it runs.
    """

    id: str
    name: str
    project: str
    project_id: str
    status: str
    status_reason: str
    service_id: str
    instance_id: str
    release: int
    live_release: int | None
    commit: str
    commit_pinned: bool
    poll: bool
    pending_changes: bool
    url: str | None
    urls: list[str]
    warnings: list[str]
    generation: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, view: values.DeploymentView) -> "DeploymentShape":
        declared, config = view.deployment, view.deployment.config
        return cls(
            id=declared.id,
            name=declared.name,
            project=view.project,
            project_id=declared.project_id,
            status=view.status,
            status_reason=view.status_reason,
            service_id=declared.service_id,
            instance_id=view.instance_id,
            release=declared.release,
            live_release=view.live_release,
            commit=view.commit,
            commit_pinned=bool(config.commit),
            poll=declared.poll,
            pending_changes=view.pending_changes,
            url=view.urls[0] if view.urls else None,
            urls=list(view.urls),
            warnings=list(view.warnings),
            generation=declared.generation,
            created_at=clock.rfc3339(declared.created_at),
            updated_at=clock.rfc3339(declared.updated_at),
            **_config(config),
        )


class DeploymentList(Shape):
    data: list[DeploymentShape]
    next_cursor: str | None


class ReleaseShape(Shape):
    """`cause` is what made it; `build_of` the release whose build it uses again. `config` is what was declared then."""

    id: str
    deployment_id: str
    number: int
    state: str
    reason: str
    message: str
    cause: str
    build_of: int | None
    commit: str
    archive: str | None
    runtime: str
    version: str
    config: ConfigShape
    created_at: str
    changed_at: str

    @classmethod
    def of(cls, release: values.Release) -> "ReleaseShape":
        return cls(
            id=release.id,
            deployment_id=release.deployment_id,
            number=release.number,
            state=release.state,
            reason=release.reason,
            message=release.message,
            cause=release.cause,
            build_of=release.build_of or None,
            commit=release.commit,
            archive=release.archive or None,
            runtime=release.config.runtime,
            version=release.config.version,
            config=ConfigShape(**_config(release.config)),
            created_at=clock.rfc3339(release.created_at),
            changed_at=clock.rfc3339(release.changed_at),
        )


class ReleaseList(Shape):
    data: list[ReleaseShape]
    next_cursor: str | None


class ProcessShape(Shape):
    """`uptime_s` while it is alive; `last_exit` says how it ended last.

    `cpu_percent` (of one core) and `rss_bytes` are of the last sample, null without a fresh one and in lists.
    """

    name: str
    release: int
    state: str
    pid: int
    port: int
    started_at: str | None
    uptime_s: float | None
    cpu_percent: float | None
    rss_bytes: int | None
    restarts: int
    last_exit: str

    @classmethod
    def of(
        cls, process: values.Process, at: values.Time | None = None, used: values.Usage | None = None
    ) -> "ProcessShape":
        runs = bool(at and process.pid and process.started_at)
        return cls(
            name=process.name,
            release=process.release,
            state=process.state,
            pid=process.pid,
            port=process.port,
            started_at=moment(process.started_at),
            uptime_s=max(0.0, round(at.timestamp() - process.started_at, 3)) if runs and at else None,
            cpu_percent=used.cpu_percent if used else None,
            rss_bytes=used.rss_bytes if used else None,
            restarts=process.restarts,
            last_exit=process.last_exit,
        )


class ConditionShape(Shape):
    """`status` is True, False or Unknown."""

    type: str
    status: str
    reason: str
    message: str

    @classmethod
    @functools.lru_cache(maxsize=512)
    def of(cls, condition: values.Condition) -> "ConditionShape":
        """Most services say the same of themselves: one shape stands for all of them."""
        return cls(type=condition.type, status=condition.status, reason=condition.reason, message=condition.message)


class ServiceShape(Shape):
    """`desired` is what is wished; the rest is what its instance reported under `observed_generation`."""

    id: str
    name: str
    deployment_id: str
    project_id: str
    instance_id: str
    desired: str
    status: str
    health: str
    live_release: int | None
    generation: int
    observed_generation: int
    message: str
    conditions: list[ConditionShape]
    processes: list[ProcessShape]
    reported_at: str | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, service: values.ServiceView) -> "ServiceShape":
        observed = service.observed
        return cls(
            id=service.id,
            name=service.name,
            deployment_id=service.deployment_id,
            project_id=service.project_id,
            instance_id=service.instance_id,
            desired=service.run.value,
            status=observed.status,
            health=observed.health,
            live_release=observed.live_release or None,
            generation=service.generation,
            observed_generation=observed.generation,
            message=observed.message,
            conditions=[ConditionShape.of(one) for one in service.conditions],
            processes=[ProcessShape.of(one, service.at, service.usage.get(one.pid)) for one in observed.processes],
            reported_at=clock.rfc3339(observed.reported_at) if observed.reported_at else None,
            created_at=clock.rfc3339(service.created_at),
            updated_at=clock.rfc3339(service.updated_at),
        )


class ServiceList(Shape):
    data: list[ServiceShape]
    next_cursor: str | None


class InstanceShape(Shape):
    """`status` is online, degraded (its heartbeats are late), offline or draining. Sizes in bytes.

    `capabilities` and `runtimes` are what its agent said of the host when it connected last.
    """

    id: str
    name: str
    status: str
    last_seen: str | None
    agent_version: str
    hostname: str
    os: str
    addresses: list[str]
    cpus: int
    memory: int
    disk: int
    capabilities: dict[str, str]
    runtimes: dict[str, str]
    labels: dict[str, str]
    cordoned: bool
    services: int
    generation: int
    created_at: str

    @classmethod
    def of(cls, instance: values.InstanceView) -> "InstanceShape":
        facts = instance.facts
        return cls(
            id=instance.id,
            name=instance.name,
            status=instance.status,
            last_seen=clock.rfc3339(instance.last_seen) if instance.last_seen else None,
            agent_version=instance.agent_version,
            hostname=facts.get("hostname", ""),
            os=facts.get("os", ""),
            addresses=facts.get("addresses", []),
            cpus=facts.get("cpus", 0),
            memory=facts.get("memory_bytes", 0),
            disk=facts.get("disk_bytes", 0),
            capabilities=facts.get("capabilities", {}),
            runtimes=facts.get("runtimes", {}),
            labels=dict(instance.labels),
            cordoned=instance.cordoned,
            services=instance.services,
            generation=instance.generation,
            created_at=clock.rfc3339(instance.created_at),
        )


class InstanceList(Shape):
    data: list[InstanceShape]
    next_cursor: str | None


class LogLineShape(Shape):
    seq: int
    ts: str | None
    stream: str
    process: str
    release: int
    line: str

    @classmethod
    def of(cls, line: values.LogLine) -> "LogLineShape":
        return cls(
            seq=line.seq,
            ts=moment(line.time),
            stream=line.stream,
            process=line.process,
            release=line.release,
            line=line.line.decode("utf-8", "replace"),
        )


class Gap(Shape):
    """The lines `from` to `to` are lost."""

    first: int = pydantic.Field(alias="from")
    last: int = pydantic.Field(alias="to")


class GapShape(Shape):
    gap: Gap

    @classmethod
    def of(cls, line: values.LogLine) -> "GapShape":
        return cls(gap=Gap.model_validate({"from": line.seq, "to": line.gap_to}))


class LogPage(Shape):
    data: list[LogLineShape | GapShape]
    next_cursor: str | None = None


class Version(Shape):
    name: str
    version: str


class Health(Shape):
    status: str


class Ready(Shape):
    """`status` is ready or not_ready; the rest says why."""

    status: str
    database: bool
    operator: bool
    hub: bool
    instances_online: int


def log_line(line: values.LogLine) -> LogLineShape | GapShape:
    return GapShape.of(line) if line.gap_to else LogLineShape.of(line)


def _config(config: values.Config) -> dict[str, Any]:
    check, limits = config.health_check, config.resources
    return {
        "source": config.source,
        "remote": config.remote,
        "branch": config.branch,
        "git_token_set": bool(config.git_token),
        "runtime": config.runtime,
        "version": config.version,
        "build_cmd": config.build_cmd,
        "run_cmd": config.run_cmd,
        "processes": dict(config.processes),
        "working_dir": config.working_dir,
        "static_dir": config.static_dir,
        "port": config.port,
        "env": {variable.key: variable.value for variable in config.env if not variable.secret},
        "secret_keys": [variable.key for variable in config.env if variable.secret],
        "health_check": HealthCheckShape(
            kind=check.kind,
            path=check.path,
            command=check.command,
            interval=check.interval_s,
            timeout=check.timeout_s,
            retries=check.retries,
            start_period=check.start_period_s,
        ),
        "replicas": config.replicas,
        "resources": ResourcesShape(
            memory=limits.memory_bytes or None,
            cpu=limits.cpu or None,
            pids=limits.pids or None,
            disk=limits.disk_bytes or None,
            strict=limits.strict,
        ),
        "strategy": StrategyShape(
            kind=config.strategy.kind,
            weight=config.strategy.weight,
            steps=list(config.strategy.steps),
            interval=config.strategy.interval_s,
        ),
        "placement": PlacementShape(labels=dict(config.placement)),
        "labels": dict(config.labels),
        "description": config.description,
        "sources": origin.of_config(config),
    }


def moment(seconds: float) -> str | None:
    """Seconds since 1970 as RFC 3339; None for 0, which is "not known", and for what no calendar holds."""
    if not seconds:
        return None
    try:
        return clock.rfc3339(datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    except (ValueError, OverflowError, OSError):
        return None
