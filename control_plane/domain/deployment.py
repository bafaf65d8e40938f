"""What a user may declare: how it is checked, and how a change merges. Pure."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from control_plane import errors
from control_plane.domain import cron, declaration, grammar, health, resources, strategy, values, volumes
from control_plane.domain.abilities import EVERYTHING, Abilities
from control_plane.domain.declaration import Problem, runtime_of
from control_plane.domain.fields import DeploymentChanges, DeploymentFields, asked_for

__all__ = [
    "DeploymentChanges",
    "DeploymentFields",
    "Problem",
    "asked_for",
    "demand_processes",
    "merged",
    "refused",
    "runtime_of",
    "validated",
]

# What belongs to the row beside the configuration, or is merged by a rule of its own.
ASIDE = frozenset({"name", "project", "instance", "poll"})
BY_KEY = frozenset({"env", "secrets", "processes", "process_replicas", "cron", "labels", "health_check", "resources"})
# What is judged by another field, and what is judged by itself.
DEPENDENT = {
    "source": ("remote", "commit", "git_token", "git_host_key", "submodules", "image", "runtime", "run_cmd", "port"),
    "remote": ("git_token", "git_host_key"),
    "runtime": ("version", "run_cmd", "port"),
}
ALONE = frozenset(
    {"branch", "working_dir", "static_dir", "build_cmd", "port", "env", "replicas", "process_replicas", "description"}
)
OF_GIT: dict[str, Any] = {"remote": "", "commit": "", "git_token": "", "git_host_key": "", "submodules": False}
# A release depends on these for nothing: they change without one.
UNRELEASED = ("description", "labels")


def validated(
    fields: DeploymentFields, *, allow_file: bool = False, allow_ssh: bool = False, able: Abilities | None = None
) -> values.Config:
    """The declaration in its stored form. Raises InvalidError that names every bad field.

    `able` is what the instance that it is for can do.
    """
    problems = declaration.problems(fields, able or Abilities(), allow_file=allow_file, allow_ssh=allow_ssh)
    if problems:
        raise refused(problems)
    return declaration.config_of(fields)


def refused(problems: list[Problem]) -> errors.InvalidError:
    """One error for all problems: the first in `field` and `issue`, and all of several in `errors`."""
    return errors.InvalidError.several("Invalid deployment configuration", problems)


def faults_beside(given: Mapping[str, Any], bad: Collection[str], *, is_new: bool) -> list[Problem]:
    """What else is wrong with a declaration whose fields `bad` cannot be read: faults that are faults everywhere.

    Of a change only what needs no knowledge of the rest of the declaration.
    """
    plain: dict[str, Any] = {
        name: {key: one for key, one in value.items() if one is not None} if isinstance(value, Mapping) else value
        for name, value in given.items()
    }
    fields = DeploymentFields(**{"name": "name", **plain})
    unsure = {"version", *bad, *(name for one in bad for name in DEPENDENT.get(one, ()))}
    found = declaration.problems(fields, EVERYTHING, allow_file=True, allow_ssh=True)
    named = [(problem, str(problem["field"]).partition(".")[0]) for problem in found]
    return [problem for problem, name in named if name not in unsure and (is_new or name in ALONE.intersection(given))]


def merged(name: str, project: str, config: values.Config, changes: DeploymentChanges) -> DeploymentFields:
    """The whole declaration after `changes`, to be validated like a new one. Raises InvalidError for a new name."""
    for field, old, new in (("name", name, changes.name), ("project", project, changes.project)):
        if new is not None and new != old:
            raise refused([{"field": field, "issue": f"cannot be changed from {old}; create another deployment"}])
    if config.git_token and changes.git_token is None and _leads_elsewhere(config.remote, changes.remote):
        issue = "must be given again for another host, or be empty: who changes the remote would be sent the stored one"
        raise refused([{"field": "git_token", "issue": issue}])
    given = {
        field.name: value
        for field in dataclasses.fields(changes)
        if field.name not in ASIDE | BY_KEY and (value := getattr(changes, field.name)) is not None
    }
    asked = asked_for({field.name: getattr(changes, field.name) for field in dataclasses.fields(changes)})
    kept = set(config.given)
    if "runtime" in given and "version" not in given and runtime_of(given["runtime"]) != config.runtime:
        given["version"] = ""  # a version belongs to its runtime
        kept.discard("version")
    if "remote" in given and "git_host_key" not in given and _leads_elsewhere(config.remote, given["remote"]):
        given["git_host_key"] = ""  # a key belongs to its server
        kept.discard("git_host_key")
    if given.get("source", config.source) != config.source:
        given = {**OF_GIT, **given}  # what is known of a repository belongs to it
        kept -= set(OF_GIT)
    fields = declared(name, project, config)
    by_key: dict[str, Any] = {
        field: _with(getattr(fields, field), getattr(changes, field))
        for field in BY_KEY - {"health_check", "cron"}
        if getattr(changes, field) is not None
    }
    gone = {name for name, command in (changes.processes or {}).items() if command is None}
    by_key["process_replicas"] = {
        name: count
        for name, count in by_key.get("process_replicas", fields.process_replicas).items()
        if name not in gone or name in (changes.process_replicas or {})
    }
    by_key["cron"] = cron.merged(config.cron, changes.cron or {})
    checks = health.merged(config.health_check, changes.health_check or {})
    return dataclasses.replace(fields, **given, **by_key, health_check=checks, given=asked | kept)


def declared(name: str, project: str, config: values.Config) -> DeploymentFields:
    """The fields that make `config`."""
    plain = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(DeploymentFields)
        if field.name not in ASIDE | BY_KEY | {"strategy", "placement", "volumes", "image", "given"}
    }
    return DeploymentFields(
        name=name,
        project=project,
        env={one.key: one.value for one in config.env if not one.secret},
        secrets={one.key: one.value for one in config.env if one.secret},
        processes=dict(config.processes),
        process_replicas=dict(config.process_replicas),
        cron=cron.declared(config.cron),
        labels=dict(config.labels),
        placement=dict(config.placement),
        health_check=health.declared(config.health_check),
        resources=resources.declared(config.resources),
        strategy=strategy.declared(config.strategy),
        volumes=volumes.declared(config.volumes),
        given=frozenset(config.given),
        **plain,
    )


def demand_processes(config: values.Config, decided: Sequence[values.Decided]) -> None:
    """Raises InvalidError for replicas of a process that neither the declaration nor the source has.

    `decided` is what the source decided; of one that decided nothing we may not have heard.
    """
    lead = "processes."
    known = {*dict(config.processes), *(row.field.removeprefix(lead) for row in decided if row.field.startswith(lead))}
    unknown = [name for name, _ in config.process_replicas if name not in known]
    if decided and unknown:
        issue = "is no process of the deployment or its source"
        raise refused(
            [{"field": f"process_replicas.{name}", "issue": issue, "supported": sorted(known)} for name in unknown]
        )


def needs_release(old: values.Config, new: values.Config) -> bool:
    """Whether what runs under `old` differs from what `new` declares."""
    return dataclasses.replace(old, **{name: getattr(new, name) for name in UNRELEASED}) != new


def with_access_of(now: values.Config, target: values.Config) -> values.Config:
    """`target`, of which `now` took the place, with what opens its repository today.

    A token of one server is never shown to another: where `target` leads elsewhere it has what it had.
    """
    by_other_means = grammar.is_ssh(now.remote) != grammar.is_ssh(target.remote)
    if not target.remote or by_other_means or _leads_elsewhere(now.remote, target.remote):
        return target
    return dataclasses.replace(target, git_token=now.git_token, git_host_key=now.git_host_key)


def _leads_elsewhere(old: str, new: str | None) -> bool:
    """Whether what is sent to `new` would come to another host than what is sent to `old`."""
    return _host(old) != _host(new or old)


def _host(remote: str) -> str:
    if "://" not in remote:  # the short form of ssh
        return remote.partition(":")[0].rpartition("@")[2].lower()
    return remote.partition("://")[2].partition("/")[0].rpartition("@")[2].lower().removesuffix(":443")


def _with(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` over `old` by key; None takes a key away."""
    both = {**old, **changes}
    return {key: value for key, value in both.items() if value is not None}
