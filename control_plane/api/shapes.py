"""What clients get: the response models of the contract, and how our values become them."""

import datetime
from typing import Any

import pydantic

from control_plane import clock
from control_plane.domain import values


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
    interval: float
    timeout: float
    retries: int
    start_period: float


class DeploymentShape(Shape):
    id: str
    name: str
    project: str
    status: str
    status_reason: str
    service_id: str
    release: int
    live_release: int | None
    commit: str
    urls: list[str]
    source: str
    remote: str
    branch: str
    runtime: str
    version: str
    build_cmd: str
    run_cmd: str
    working_dir: str
    static_dir: str
    port: int
    env: dict[str, str]
    health_check: HealthCheckShape
    description: str
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, view: values.DeploymentView) -> "DeploymentShape":
        declared, config = view.deployment, view.deployment.config
        return cls(
            id=declared.id,
            name=declared.name,
            project=view.project,
            status=view.status,
            status_reason=view.status_reason,
            service_id=declared.service_id,
            release=declared.release,
            live_release=view.live_release,
            commit=view.commit,
            urls=list(view.urls),
            created_at=clock.rfc3339(declared.created_at),
            updated_at=clock.rfc3339(declared.updated_at),
            **_config(config),
        )


class DeploymentList(Shape):
    data: list[DeploymentShape]
    next_cursor: str | None


class ReleaseShape(Shape):
    id: str
    deployment_id: str
    number: int
    state: str
    reason: str
    message: str
    commit: str
    runtime: str
    version: str
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
            commit=release.commit,
            runtime=release.config.runtime,
            version=release.config.version,
            created_at=clock.rfc3339(release.created_at),
            changed_at=clock.rfc3339(release.changed_at),
        )


class ReleaseList(Shape):
    data: list[ReleaseShape]
    next_cursor: str | None = None


class ProcessShape(Shape):
    name: str
    release: int
    state: str
    pid: int
    port: int
    started_at: str | None
    restarts: int
    last_exit: str

    @classmethod
    def of(cls, process: values.Process) -> "ProcessShape":
        return cls(
            name=process.name,
            release=process.release,
            state=process.state,
            pid=process.pid,
            port=process.port,
            started_at=moment(process.started_at),
            restarts=process.restarts,
            last_exit=process.last_exit,
        )


class ServiceShape(Shape):
    id: str
    name: str
    deployment_id: str
    instance_id: str
    desired: str
    status: str
    health: str
    live_release: int | None
    generation: int
    observed_generation: int
    message: str
    processes: list[ProcessShape]
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, service: values.Service) -> "ServiceShape":
        observed = service.observed
        return cls(
            id=service.id,
            name=service.name,
            deployment_id=service.deployment_id,
            instance_id=service.instance_id,
            desired=service.run.value,
            status=observed.status,
            health=observed.health,
            live_release=observed.live_release or None,
            generation=service.generation,
            observed_generation=observed.generation,
            message=observed.message,
            processes=[ProcessShape.of(process) for process in observed.processes],
            created_at=clock.rfc3339(service.created_at),
            updated_at=clock.rfc3339(service.updated_at),
        )


class ServiceList(Shape):
    data: list[ServiceShape]
    next_cursor: str | None


class InstanceShape(Shape):
    id: str
    name: str
    status: str
    last_seen: str | None
    agent_version: str
    facts: dict[str, Any]
    created_at: str

    @classmethod
    def of(cls, instance: values.Instance) -> "InstanceShape":
        return cls(
            id=instance.id,
            name=instance.name,
            status="online" if instance.online else "offline",
            last_seen=clock.rfc3339(instance.last_seen) if instance.last_seen else None,
            agent_version=instance.agent_version,
            facts=instance.facts,
            created_at=clock.rfc3339(instance.created_at),
        )


class InstanceList(Shape):
    data: list[InstanceShape]
    next_cursor: str | None


class SampleShape(Shape):
    time: str | None
    families: dict[str, Any]


class Metrics(Shape):
    """`series` is empty: only the newest sample is kept."""

    instance_id: str
    latest: SampleShape
    series: list[Any] = []

    @classmethod
    def of(cls, sample: values.Sample) -> "Metrics":
        latest = SampleShape(time=moment(sample.time), families=sample.families)
        return cls(instance_id=sample.instance_id, latest=latest)


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
    check = config.health_check
    return {
        "source": config.source,
        "remote": config.remote,
        "branch": config.branch,
        "runtime": config.runtime,
        "version": config.version,
        "build_cmd": config.build_cmd,
        "run_cmd": config.run_cmd,
        "working_dir": config.working_dir,
        "static_dir": config.static_dir,
        "port": config.port,
        "env": {variable.key: variable.value for variable in config.env if not variable.secret},
        "health_check": HealthCheckShape(
            kind=check.kind,
            path=check.path,
            interval=check.interval_s,
            timeout=check.timeout_s,
            retries=check.retries,
            start_period=check.start_period_s,
        ),
        "description": config.description,
    }


def moment(seconds: float) -> str | None:
    """Seconds since 1970 as RFC 3339; None for 0, which is "not known", and for what no calendar holds."""
    if not seconds:
        return None
    try:
        return clock.rfc3339(datetime.datetime.fromtimestamp(seconds, datetime.UTC))
    except (ValueError, OverflowError, OSError):
        return None
