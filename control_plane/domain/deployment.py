"""What a user may declare: the fields of a deployment, their rules, and how a change merges. Pure.

`validated` collects every problem, so that a user repairs a request once. Create and update share the same rules.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from control_plane import errors
from control_plane.domain import grammar, health, values

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ALIASES = {"node": "nodejs"}
SOURCES = ("remote",)
NODE_VERSIONS = ("18", "20", "22", "24")
PYTHON_VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
RUNTIMES: dict[str, tuple[str, ...]] = {"nodejs": NODE_VERSIONS, "python": PYTHON_VERSIONS, "static": ()}
STATIC_PORT = 80
MAX_COMMAND = 4096
MAX_DESCRIPTION = 1000

Problem = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class DeploymentFields:
    """A new deployment as asked for. `health_check` holds the API's own keys; durations are seconds or "30s"."""

    name: str
    source: str = "remote"
    remote: str = ""
    branch: str = "main"
    commit: str = ""
    runtime: str = ""
    version: str = ""
    build_cmd: str = ""
    run_cmd: str = ""
    working_dir: str = ""
    static_dir: str = ""
    port: int | None = None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    health_check: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    description: str = ""
    project: str = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class DeploymentChanges:
    """What shall differ; None is "as it is". In `env` None deletes a key. `name` and `project` may only be repeated."""

    name: str | None = None
    source: str | None = None
    remote: str | None = None
    branch: str | None = None
    commit: str | None = None
    runtime: str | None = None
    version: str | None = None
    build_cmd: str | None = None
    run_cmd: str | None = None
    working_dir: str | None = None
    static_dir: str | None = None
    port: int | None = None
    env: Mapping[str, str | None] | None = None
    health_check: Mapping[str, Any] | None = None
    description: str | None = None
    project: str | None = None


def validated(fields: DeploymentFields, *, allow_file: bool = False) -> values.Config:
    """The declaration in its stored form. Raises InvalidError that names every bad field."""
    problems = [*_name_problems(fields), *_source_problems(fields, allow_file=allow_file)]
    problems += [*_runtime_problems(fields), *_command_problems(fields), *_port_problems(fields)]
    problems += [*grammar.env_problems(fields.env), *health.problems(fields.health_check)]
    if problems:
        raise refused(problems)
    return _config(fields)


def refused(problems: list[Problem]) -> errors.InvalidError:
    """One error for all problems: the first in `field` and `issue`, and all of several in `errors`."""
    message = "; ".join(f"{problem['field']}: {problem['issue']}" for problem in problems)
    details = dict(problems[0]) if len(problems) == 1 else {**problems[0], "errors": problems}
    return errors.InvalidError(f"Invalid deployment configuration: {message}", details)


def merged(name: str, project: str, config: values.Config, changes: DeploymentChanges) -> DeploymentFields:
    """The whole declaration after `changes`, to be validated like a new one. Raises InvalidError for a new name."""
    for field, old, new in (("name", name, changes.name), ("project", project, changes.project)):
        if new is not None and new != old:
            raise refused([{"field": field, "issue": f"cannot be changed from {old}; create another deployment"}])
    given = {
        field.name: value
        for field in dataclasses.fields(changes)
        if field.name not in {"env", "health_check", "name", "project"}
        and (value := getattr(changes, field.name)) is not None
    }
    if "runtime" in given and "version" not in given and runtime_of(given["runtime"]) != config.runtime:
        given["version"] = ""  # a version belongs to its runtime
    kept = {one.key: one.value for one in config.env if one.key not in (changes.env or {})}
    added = {key: text for key, text in (changes.env or {}).items() if text is not None}
    checks = health.merged(config.health_check, changes.health_check or {})
    fields = DeploymentFields(name=name, project=project, env={**kept, **added}, health_check=checks, **_plain(config))
    return dataclasses.replace(fields, **given)


def runtime_of(word: str) -> str:
    return ALIASES.get(word, word)


def _plain(config: values.Config) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(DeploymentFields)} - {"env", "health_check", "name", "project"}
    return {name: getattr(config, name) for name in names}


def _config(fields: DeploymentFields) -> values.Config:
    runtime = runtime_of(fields.runtime)
    return values.Config(
        source=fields.source,
        remote=fields.remote,
        branch=fields.branch,
        commit=fields.commit.lower(),
        runtime=runtime,
        version=fields.version,
        build_cmd=fields.build_cmd.strip(),
        run_cmd=fields.run_cmd.strip(),
        working_dir=grammar.normal_dir(fields.working_dir),
        static_dir=grammar.normal_dir(fields.static_dir),
        port=fields.port if fields.port is not None else STATIC_PORT,
        env=tuple(values.Variable(key, text) for key, text in sorted(fields.env.items())),
        health_check=health.parsed(fields.health_check),
        description=fields.description,
    )


def _problem(field: str, issue: str, **more: Any) -> Problem:
    return {"field": field, "issue": issue, **more}


def _name_problems(fields: DeploymentFields) -> list[Problem]:
    problems = []
    if not NAME.fullmatch(fields.name):
        issue = "must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends"
        problems.append(_problem("name", issue))
    if len(fields.description) > MAX_DESCRIPTION or not grammar.is_text(fields.description):
        problems.append(_problem("description", f"must be at most {MAX_DESCRIPTION} printable characters"))
    return problems


def _source_problems(fields: DeploymentFields, *, allow_file: bool) -> list[Problem]:
    if fields.source not in SOURCES:
        return [_problem("source", "Unsupported source", supported=list(SOURCES))]
    found = {
        "remote": grammar.remote_issue(fields.remote, allow_file=allow_file),
        "branch": grammar.branch_issue(fields.branch),
        "commit": grammar.commit_issue(fields.commit),
        "working_dir": grammar.dir_issue(fields.working_dir),
        "static_dir": grammar.dir_issue(fields.static_dir),
    }
    return [_problem(field, issue) for field, issue in found.items() if issue]


def _runtime_problems(fields: DeploymentFields) -> list[Problem]:
    runtime = runtime_of(fields.runtime)
    if not runtime:
        return [_problem("runtime", "is required", supported=list(RUNTIMES))]
    if runtime not in RUNTIMES:
        return [_problem("runtime", "Unsupported runtime", supported=list(RUNTIMES))]
    supported = RUNTIMES[runtime]
    if fields.version and not any(_is_of(fields.version, line) for line in supported):
        return [_problem("version", "Unsupported runtime version", supported=list(supported))]
    return []


def _is_of(version: str, line: str) -> bool:
    """Whether `version` is `line` or a version of it: 20, 20.11 and 20.11.1 are of the line 20."""
    more = 2 - line.count(".")
    return re.fullmatch(re.escape(line) + rf"(\.(0|[1-9][0-9]{{0,3}})){{0,{more}}}", version) is not None


def _command_problems(fields: DeploymentFields) -> list[Problem]:
    problems = []
    for field, text in (("build_cmd", fields.build_cmd), ("run_cmd", fields.run_cmd)):
        if len(text) > MAX_COMMAND or not grammar.is_text(text):
            problems.append(_problem(field, f"must be at most {MAX_COMMAND} printable characters"))
    if not fields.run_cmd.strip() and runtime_of(fields.runtime) != "static":
        problems.append(_problem("run_cmd", "is required unless the runtime is static"))
    return problems


def _port_problems(fields: DeploymentFields) -> list[Problem]:
    if fields.port is None:
        return [] if runtime_of(fields.runtime) == "static" else [_problem("port", "is required")]
    return [] if 1 <= fields.port <= 65535 else [_problem("port", "must be between 1 and 65535")]
