"""What `/v1/services` takes and gives: services and their processes, one-off runs."""

import functools
from typing import Annotated, Any, ClassVar

import pydantic

from control_plane import clock
from control_plane.api import forms, rules, schemas, shapes
from control_plane.domain import declaration, health, resources, values
from control_plane.services import runs
from control_plane.services.services import ServiceChanges


class CrashShape(shapes.Shape):
    """How a process ended when nobody asked for it. `kind`: exited, signalled, oom, start_failed, unhealthy or unknown.

    `code` is the exit code, the signal or the errno; `lines` are the last (at most 50) before the end; none in lists,
    in answers to changes, and for those who lack `log:read`.
    `cpu_s` and `max_rss_bytes` are 0 where they cannot be known.
    """

    kind: str
    code: int
    message: str
    at: str | None
    ran_s: float
    cpu_s: float
    max_rss_bytes: int
    lines: list[str]

    @classmethod
    def of(cls, crash: values.Crash, *, lines: bool) -> "CrashShape":
        return cls(
            kind=crash.kind,
            code=crash.code,
            message=crash.words,
            at=shapes.moment(crash.at),
            ran_s=round(crash.ran_s, 3),
            cpu_s=round(crash.cpu_s, 3),
            max_rss_bytes=crash.max_rss_bytes,
            lines=list(crash.lines) if lines else [],
        )


class ProcessShape(shapes.Shape):
    """`uptime_s` while it is alive; `last_exit` says how it ended last, `crash` how the last time by itself.

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
    crash: CrashShape | None

    @classmethod
    def of(
        cls,
        process: values.Process,
        at: values.Time | None = None,
        used: values.Usage | None = None,
        *,
        lines: bool = False,
    ) -> "ProcessShape":
        runs = bool(at and process.pid and process.started_at)
        return cls(
            name=process.name,
            release=process.release,
            state=process.state,
            pid=process.pid,
            port=process.port,
            started_at=shapes.moment(process.started_at),
            uptime_s=max(0.0, round(at.timestamp() - process.started_at, 3)) if runs and at else None,
            cpu_percent=used.cpu_percent if used else None,
            rss_bytes=used.rss_bytes if used else None,
            restarts=process.restarts,
            last_exit=process.last_exit,
            crash=CrashShape.of(process.crash, lines=lines) if process.crash else None,
        )


class CronEntryShape(shapes.Shape):
    """A cron entry of the live release. `next_at` is null when it never runs, `last_outcome` before its first run: then it
    is running, exited(N), signalled(N), timeout, cancelled, replaced, interrupted, or oom or start_failed with the reason.
    """

    name: str
    schedule: str
    next_at: str | None
    last_started_at: str | None
    last_outcome: str | None

    @classmethod
    def of(cls, entry: values.Cron) -> "CronEntryShape":
        return cls(
            name=entry.name,
            schedule=entry.schedule,
            next_at=shapes.moment(entry.next_at),
            last_started_at=shapes.moment(entry.last_started_at),
            last_outcome=entry.last_outcome or None,
        )


class ConditionShape(shapes.Shape):
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


class ServiceShape(shapes.Shape):
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
    cron: list[CronEntryShape]
    reported_at: str | None
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, service: values.ServiceView, *, lines: bool = False) -> "ServiceShape":
        """`lines`: with those of crashes."""
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
            processes=[
                ProcessShape.of(one, service.at, service.usage.get(one.pid), lines=lines) for one in observed.processes
            ],
            cron=[CronEntryShape.of(one) for one in observed.cron],
            reported_at=clock.rfc3339(observed.reported_at) if observed.reported_at else None,
            created_at=clock.rfc3339(service.created_at),
            updated_at=clock.rfc3339(service.updated_at),
        )


class ServiceList(shapes.Shape):
    data: list[ServiceShape]
    next_cursor: str | None


def _check_problems(given: dict[str, Any]) -> list[rules.Problem]:
    return health.problems({key: value for key, value in given.items() if value is not None})


def _count_problems(given: dict[str, Any]) -> list[rules.Problem]:
    return declaration.process_replicas_problems({name: one for name, one in given.items() if one is not None})


class ServicePatch(schemas.Input):
    """Only the fields given change; the keys of `process_replicas`, `resources` and `health_check` merge."""

    RULES: ClassVar[rules.Rules] = {
        "replicas": rules.said("replicas", declaration.replicas_issue),
        "process_replicas": _count_problems,
        "resources": resources.problems,
        "health_check": _check_problems,
    }
    replicas: int = schemas.optional()
    process_replicas: Annotated[dict[str, int | None], pydantic.WithJsonSchema(forms.REPLICAS_CHANGES)] = (
        schemas.optional()
    )
    resources: Annotated[dict[str, Any], pydantic.WithJsonSchema(forms.RESOURCES)] = schemas.optional()
    health_check: Annotated[dict[str, Any], pydantic.WithJsonSchema(forms.HEALTH_CHECK)] = schemas.optional()

    def changes(self) -> ServiceChanges:
        return ServiceChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class RunInput(schemas.Input):
    """The command has the environment and the directory of the live release."""

    RULES: ClassVar[rules.Rules] = {
        "command": rules.said("command", runs.command_issue),
        "timeout": rules.said("timeout", runs.timeout_issue),
    }
    command: str
    timeout: Annotated[float | str, pydantic.WithJsonSchema(forms.DURATION)] = runs.DEFAULT_TIMEOUT_S


class RunExit(shapes.Shape):
    """`outcome` is exited, signalled, timeout, cancelled or start_failed; `code` the exit code, signal or errno."""

    outcome: str
    code: int


class RunPiece(shapes.Shape):
    """A piece of what the command wrote to `stream`; the last object has `exit` instead."""

    stream: str | None = None
    data: str | None = None
    exit: RunExit | None = None
