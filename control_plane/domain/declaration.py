"""The rules of a deployment's fields, and the stored form of fields that keep them. Pure.

All problems are found at once, so that a user repairs a request once. Create and update share the same rules.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from control_plane.domain import abilities, cron, grammar, health, resources, strategy, values, volumes
from control_plane.domain.fields import DeploymentFields

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
ALIASES = {"node": "nodejs", "golang": "go"}
IMAGES = frozenset({"image", "docker"})
STATIC_PORT, USUAL_PORT = 80, 3000
MAX_COMMAND = 4096
MAX_DESCRIPTION = 1000
MAX_REPLICAS = 100
LOWEST_FIXED_PORT = 1024  # below, only root may listen
# By the names of the contract; secrets are variables of the environment.
OF_CONFIG = frozenset(field.name for field in dataclasses.fields(values.Config) if field.compare) | {"secrets"}

Problem = dict[str, Any]


def problems(
    fields: DeploymentFields, able: abilities.Abilities, *, allow_file: bool, allow_ssh: bool
) -> list[Problem]:
    """What is wrong with `fields`, for an instance that is `able`. The first problem of a field stands for it."""
    found = [*_name_problems(fields), *_source_problems(fields, able, allow_file, allow_ssh)]
    if fields.source not in IMAGES:  # an image brings its own
        found += [*_runtime_problems(fields, able), *_command_problems(fields, able), *_port_problems(fields, able)]
    found += [*_env_problems(fields), *health.problems(fields.health_check), *cron.problems(fields.cron)]
    found += _run_problems(fields)
    found += abilities.problems(able, fields)
    if fields.health_check.get("kind") == "command" and not fields.health_check.get("command"):
        found.append(_problem("health_check.kind", "needs a command"))
    named: dict[str, Problem] = {}
    for problem in found:
        named.setdefault(problem["field"], problem)
    return list(named.values())


def config_of(fields: DeploymentFields) -> values.Config:
    """The stored form of fields without a problem."""
    variables = [values.Variable(key, text) for key, text in fields.env.items()]
    variables += [values.Variable(key, text, secret=True) for key, text in fields.secrets.items()]
    return values.Config(
        source=fields.source,
        remote=fields.remote,
        branch=fields.branch,
        commit=fields.commit.lower(),
        runtime=runtime_of(fields.runtime),
        version=fields.version,
        build_cmd=fields.build_cmd.strip(),
        run_cmd=fields.run_cmd.strip(),
        working_dir=grammar.normal_dir(fields.working_dir),
        static_dir=grammar.normal_dir(fields.static_dir),
        port=fields.port if fields.port is not None else _usual_port(fields.runtime),
        env=tuple(sorted(variables, key=lambda one: one.key)),
        health_check=health.parsed(fields.health_check),
        description=fields.description,
        git_token=fields.git_token,
        git_host_key=fields.git_host_key,
        submodules=fields.submodules,
        replicas=fields.replicas,
        resources=resources.parsed(fields.resources),
        strategy=strategy.parsed(fields.strategy),
        port_mode=fields.port_mode,
        auto_rollback=fields.auto_rollback,
        processes=_pairs({name: command.strip() for name, command in fields.processes.items()}),
        process_replicas=tuple(sorted(fields.process_replicas.items())),
        volumes=volumes.parsed(fields.volumes),
        cron=cron.parsed(fields.cron),
        labels=_pairs(fields.labels),
        placement=_pairs(fields.placement),
        given=tuple(sorted(fields.given & OF_CONFIG)),
    )


def runtime_of(word: str) -> str:
    return ALIASES.get(word, word)


def _usual_port(runtime: str) -> int:
    return STATIC_PORT if runtime == "static" else USUAL_PORT


def _count_problems(fields: DeploymentFields, able: abilities.Abilities) -> list[Problem]:
    """Of processes that the deployment does not declare the source may tell, where that is looked into."""
    found = process_replicas_problems(fields.process_replicas)
    unknown = sorted(set(fields.process_replicas) - set(fields.processes)) if "run_cmd" not in able.detects else []
    return found + [_problem(f"process_replicas.{name[:64]}", "is no process of the deployment") for name in unknown]


def process_replicas_problems(counts: Mapping[str, int]) -> list[Problem]:
    """Of how often each process beside `web` runs."""
    found = [
        _problem(f"process_replicas.{name[:64]}", issue)
        for name, count in counts.items()
        if (issue := grammar.process_name_issue(name, "replicas") or _count_issue(name, count))
    ]
    many = len(counts) > grammar.MAX_PROCESSES
    return [*found, *([_problem("process_replicas", f"must be at most {grammar.MAX_PROCESSES}")] if many else [])]


def _count_issue(name: str, count: int) -> str:
    if name == grammar.RELEASE:
        return "runs once, before the release starts; leave its replicas out"
    return "" if 0 <= count <= MAX_REPLICAS else f"must be 0 to {MAX_REPLICAS}"


def replicas_issue(replicas: int) -> str:
    return "" if 1 <= replicas <= MAX_REPLICAS else f"must be 1 to {MAX_REPLICAS}"


def _pairs(mapping: Any) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(mapping.items()))


def _problem(field: str, issue: str, **more: Any) -> Problem:
    return {"field": field, "issue": issue, **more}


def _name_problems(fields: DeploymentFields) -> list[Problem]:
    found = []
    if not NAME.fullmatch(fields.name):
        found.append(_problem("name", "must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends"))
    if len(fields.description) > MAX_DESCRIPTION or not grammar.is_text(fields.description):
        found.append(_problem("description", f"must be at most {MAX_DESCRIPTION} printable characters"))
    return found + grammar.label_problems("labels", fields.labels)


def _source_problems(
    fields: DeploymentFields, able: abilities.Abilities, allow_file: bool, allow_ssh: bool
) -> list[Problem]:
    supported = [source for source in able.sources if source in {"remote", "local"}]
    if fields.source in IMAGES:
        return [_problem("source", abilities.no_images(able), supported=supported)]
    if fields.source not in supported:
        return [_problem("source", "Unsupported source", supported=supported)]
    dirs = {"working_dir": grammar.dir_issue(fields.working_dir), "static_dir": grammar.dir_issue(fields.static_dir)}
    is_git = fields.source == "remote"
    found = _git_issues(fields, able, allow_file, allow_ssh) if is_git else _local_issues(fields)
    if fields.image:
        found |= {"image": f"has no use with the source {fields.source}; leave it out"}
    return [_problem(field, issue) for field, issue in (found | dirs).items() if issue]


def _git_issues(
    fields: DeploymentFields, able: abilities.Abilities, allow_file: bool, allow_ssh: bool
) -> dict[str, str]:
    by_ssh = _ssh_issues(fields, able) if allow_ssh and grammar.is_ssh(fields.remote) else {}
    key = "is of a server for ssh; leave it out" if fields.git_host_key and not grammar.is_ssh(fields.remote) else ""
    return {
        "remote": grammar.remote_issue(fields.remote, allow_file=allow_file, allow_ssh=allow_ssh),
        "branch": grammar.branch_issue(fields.branch),
        "commit": grammar.commit_issue(fields.commit),
        "git_token": grammar.token_issue(fields.git_token),
        "git_host_key": grammar.host_key_issue(fields.git_host_key) or key,
        **by_ssh,
    }


def _ssh_issues(fields: DeploymentFields, able: abilities.Abilities) -> dict[str, str]:
    """What a repository by ssh needs of the declaration, and of its instance. Nobody is trusted at first sight."""
    found = {}
    if not able.ssh:
        found["remote"] = (
            f"cannot be by ssh: {abilities.named(able)} takes https:// alone, until its operator allows it"
        )
    if fields.git_token:
        found["git_token"] = "has no use by ssh; add the deploy key to the repository instead"  # noqa: S105 - a sentence
    if not fields.git_host_key and able.ssh == abilities.PINNED:
        found["git_host_key"] = f"is required: {abilities.named(able)} knows no ssh server; give its public key"
    return found


def _local_issues(fields: DeploymentFields) -> dict[str, str]:
    """What only git has would be ignored, so it is refused."""
    of_git = ("remote", "commit", "git_token", "git_host_key", "submodules")
    return {name: "has no use with the source local; leave it out" for name in of_git if getattr(fields, name)}


def _runtime_problems(fields: DeploymentFields, able: abilities.Abilities) -> list[Problem]:
    runtime, known = runtime_of(fields.runtime), able.runtimes
    if not runtime and "runtime" in able.detects:
        return [_problem("version", "needs a runtime; give that too")] if fields.version else []
    if not runtime:
        return [_problem("runtime", "is required", supported=list(known))]
    if runtime not in known:
        return [_problem("runtime", "Unsupported runtime", supported=list(known))]
    supported = known[runtime]
    if fields.version and not any(abilities.is_of(fields.version, line) for line in supported):
        return [_problem("version", "Unsupported runtime version", supported=list(supported))]
    return []


def _command_problems(fields: DeploymentFields, able: abilities.Abilities) -> list[Problem]:
    commands = {"build_cmd": fields.build_cmd, "run_cmd": fields.run_cmd}
    commands |= {f"processes.{name[:64]}": command for name, command in fields.processes.items()}
    issue = f"must be at most {MAX_COMMAND} printable characters"
    found = [
        _problem(field, issue)
        for field, text in commands.items()
        if len(text) > MAX_COMMAND or not grammar.is_text(text)
    ]
    needs_run_cmd = fields.runtime != "static" and not _runs_others(fields) and "run_cmd" not in able.detects
    if not fields.run_cmd.strip() and needs_run_cmd:
        found.append(_problem("run_cmd", "is required unless the runtime is static, or processes or cron are given"))
    return found + grammar.process_problems(fields.processes) + _count_problems(fields, able)


def _runs_others(fields: DeploymentFields) -> bool:
    """Is there something to run beside `web`? The release command is nothing of that kind: it has run before."""
    return bool(fields.cron) or any(name != grammar.RELEASE for name in fields.processes)


def _port_problems(fields: DeploymentFields, able: abilities.Abilities) -> list[Problem]:
    if fields.port is None:
        takes_none = fields.runtime == "static" or (_runs_others(fields) and not fields.run_cmd.strip())
        found_there = "port" in able.detects and fields.port_mode != "fixed"
        return [] if takes_none or found_there else [_problem("port", "is required")]
    return [] if 1 <= fields.port <= 65535 else [_problem("port", "must be between 1 and 65535")]


def _env_problems(fields: DeploymentFields) -> list[Problem]:
    both = sorted(set(fields.env) & set(fields.secrets))
    found = [_problem(f"secrets.{key[:128]}", "is in env too; delete one of them with null") for key in both]
    found += grammar.env_problems(fields.env) + grammar.env_problems(fields.secrets, "secrets")
    if not found and grammar.env_size({**fields.env, **fields.secrets}) > grammar.MAX_ENV:
        found.append(_problem("env", f"must be at most {grammar.MAX_ENV} bytes together"))
    return found


def _run_problems(fields: DeploymentFields) -> list[Problem]:
    found = [*resources.problems(fields.resources), *strategy.problems(fields.strategy)]
    if issue := replicas_issue(fields.replicas):
        found.append(_problem("replicas", issue))
    found += [*_port_mode_problems(fields), *_volume_problems(fields)]
    return found + grammar.label_problems("placement.labels", fields.placement)


def _volume_problems(fields: DeploymentFields) -> list[Problem]:
    if fields.volumes and fields.runtime == "static":
        return [_problem("volumes", "have no use for a static site, which runs no process; leave them out")]
    return volumes.problems(fields.volumes)


def _port_mode_problems(fields: DeploymentFields) -> list[Problem]:
    """Two processes cannot listen on one port: neither two replicas nor two releases."""
    if fields.port_mode not in abilities.PORT_MODES:
        return [_problem("port_mode", "Unsupported port mode", supported=list(abilities.PORT_MODES))]
    if fields.port_mode != "fixed":
        return []
    found = []
    if fields.replicas > 1:
        found.append(_problem("replicas", "must be 1 with the port mode fixed"))
    if strategy.kind_of(fields.strategy) == "canary":
        found.append(
            _problem("strategy", "cannot be canary with the port mode fixed: two releases cannot share a port")
        )
    if fields.port is not None and fields.port < LOWEST_FIXED_PORT:
        found.append(_problem("port", f"must be {LOWEST_FIXED_PORT} or more with the port mode fixed"))
    return found
