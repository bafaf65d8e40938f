"""The fields of a deployment as a user gives them: all of a new one, or those that shall differ. Rules: declaration.py."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from control_plane.domain import strategy as strategies


def asked_for(said: Mapping[str, Any]) -> frozenset[str]:
    """The fields that somebody asked for by `said`: not those that are left out, and no object without a key."""
    return frozenset(name for name, value in said.items() if value is not None and value != {})


@dataclasses.dataclass(frozen=True, slots=True)
class DeploymentFields:
    """A new deployment as asked for.

    `health_check`, `resources`, `strategy` and each entry of `cron` hold the API's own keys; durations are seconds or "30s", sizes bytes or
    "512M". `image` is known so that it can be refused for what it is. `placement` are labels that its instance must
    have, `instance` is the id or name of that one. `given` names the fields that somebody asked for.
    """

    name: str
    source: str = "remote"
    remote: str = ""
    branch: str = "main"
    commit: str = ""
    git_token: str = dataclasses.field(default="", repr=False)
    git_host_key: str = ""
    submodules: bool = False
    image: str = ""
    runtime: str = ""
    version: str = ""
    build_cmd: str = ""
    run_cmd: str = ""
    processes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    process_replicas: Mapping[str, int] = dataclasses.field(default_factory=dict)
    cron: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    working_dir: str = ""
    static_dir: str = ""
    port: int | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    secrets: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    health_check: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    replicas: int = 1
    resources: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    strategy: strategies.Given = "rolling"
    port_mode: str = "env"
    auto_rollback: bool = False
    volumes: Sequence[Mapping[str, Any]] = ()
    placement: Mapping[str, str] = dataclasses.field(default_factory=dict)
    instance: str = ""
    labels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    description: str = ""
    poll: bool = True
    project: str = "default"
    given: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True, slots=True)
class DeploymentChanges:
    """What shall differ; None is "as it is". `name`, `project` and `instance` may only be repeated.

    `env`, `secrets`, `processes`, `process_replicas`, `labels`, `health_check` and `resources` merge by key, and None
    there deletes one; so do `cron` and each of its entries; `strategy`, `placement` and `volumes` are replaced. With a
    process its replicas are deleted.
    """

    name: str | None = None
    source: str | None = None
    remote: str | None = None
    branch: str | None = None
    commit: str | None = None
    git_token: str | None = dataclasses.field(default=None, repr=False)
    git_host_key: str | None = None
    submodules: bool | None = None
    image: str | None = None
    runtime: str | None = None
    version: str | None = None
    build_cmd: str | None = None
    run_cmd: str | None = None
    processes: Mapping[str, str | None] | None = None
    process_replicas: Mapping[str, int | None] | None = None
    cron: Mapping[str, Mapping[str, Any] | None] | None = None
    working_dir: str | None = None
    static_dir: str | None = None
    port: int | None = None
    env: Mapping[str, str | None] | None = dataclasses.field(default=None, repr=False)
    secrets: Mapping[str, str | None] | None = dataclasses.field(default=None, repr=False)
    health_check: Mapping[str, Any] | None = None
    replicas: int | None = None
    resources: Mapping[str, Any] | None = None
    strategy: strategies.Given | None = None
    port_mode: str | None = None
    auto_rollback: bool | None = None
    volumes: Sequence[Mapping[str, Any]] | None = None
    placement: Mapping[str, str] | None = None
    instance: str | None = None
    labels: Mapping[str, str | None] | None = None
    description: str | None = None
    poll: bool | None = None
    project: str | None = None
