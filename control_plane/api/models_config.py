"""What is declared, as deployments and releases show it."""

from collections.abc import Sequence
from typing import Any, Literal

from control_plane.api import shapes
from control_plane.domain import cron, origin, values


class HealthCheckShape(shapes.Shape):
    kind: str
    path: str
    command: str
    interval: float
    timeout: float
    retries: int
    start_period: float


class ResourcesShape(shapes.Shape):
    """Limits of each process; null is none. Sizes in bytes."""

    memory: int | None
    cpu: float | None
    pids: int | None
    disk: int | None
    strict: bool


class StrategyShape(shapes.Shape):
    kind: str
    weight: int
    steps: list[int]
    interval: float


class VolumeShape(shapes.Shape):
    """A directory that outlives releases; `mount` is below the application's working directory."""

    name: str
    mount: str


class CronShape(shapes.Shape):
    """`timeout` in seconds."""

    schedule: str
    command: str
    overlap: str
    timeout: float


class PlacementShape(shapes.Shape):
    labels: dict[str, str]


class DecidedShape(shapes.Shape):
    """`field` as the API names it, or what only a source decides, such as `package_manager`; `reason` is where it stands."""

    field: str
    value: str
    source: str
    reason: str


class ConfigShape(shapes.Shape):
    """What is declared. Of secrets only the keys, of the token for git whether there is one.

    `deploy_key` is the public half of the key by which a repository is read by ssh: add it there, for reading.

    `process_replicas` says how often a process of `processes` runs; one that it does not name runs once, `web` as often as
    `replicas` says.

    `sources` says of each field where its value came from: somebody gave it, a file of the source says so, it was
    detected in the source, or it is the default. `decided` are the values that the source decided, once it is built.
    """

    source: str
    remote: str
    branch: str
    git_token_set: bool
    git_host_key: str
    deploy_key: str | None
    submodules: bool
    runtime: str
    version: str
    build_cmd: str
    run_cmd: str
    processes: dict[str, str]
    process_replicas: dict[str, int]
    cron: dict[str, CronShape]
    working_dir: str
    static_dir: str
    port: int
    env: dict[str, str]
    secret_keys: list[str]
    health_check: HealthCheckShape
    replicas: int
    resources: ResourcesShape
    strategy: StrategyShape
    port_mode: str
    auto_rollback: bool
    volumes: list[VolumeShape]
    placement: PlacementShape
    labels: dict[str, str]
    description: str
    sources: dict[str, Literal["given", "file", "detected", "default"]]
    decided: list[DecidedShape]


def fields_of(config: values.Config, decided: Sequence[values.Decided]) -> dict[str, Any]:
    check, limits = config.health_check, config.resources
    return {
        "source": config.source,
        "remote": config.remote,
        "branch": config.branch,
        "git_token_set": bool(config.git_token),
        "git_host_key": config.git_host_key,
        "deploy_key": config.deploy_public_key or None,
        "submodules": config.submodules,
        "runtime": config.runtime,
        "version": config.version,
        "build_cmd": config.build_cmd,
        "run_cmd": config.run_cmd,
        "processes": dict(config.processes),
        "process_replicas": dict(config.process_replicas),
        "cron": {name: CronShape(**entry) for name, entry in cron.declared(config.cron).items()},
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
        "port_mode": config.port_mode,
        "auto_rollback": config.auto_rollback,
        "volumes": [VolumeShape(name=name, mount=mount) for name, mount in config.volumes],
        "placement": PlacementShape(labels=dict(config.placement)),
        "labels": dict(config.labels),
        "description": config.description,
        "sources": origin.of_config(config, decided),
        "decided": [
            DecidedShape(field=row.field, value=row.value, source=row.origin, reason=row.reason) for row in decided
        ],
    }
