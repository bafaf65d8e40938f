"""The nested blueprint form (`runtime: {type, version}`, `remote: {url, branch, commit_hash}`, `env_vars`) as the flat one.

Bodies pass through here before anything else looks at them.
"""

from typing import Any

from control_plane.domain import deployment

RUNTIME_FORM = {"type": "runtime", "version": "version"}
REMOTE_FORM = {"url": "remote", "branch": "branch", "commit_hash": "commit"}
FLAT = {"env_vars": "env"}


def text_of(value: Any) -> Any:
    """An environment variable's value: numbers and booleans become text as JSON writes them; the rest stays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else value


def flattened(data: dict[str, Any]) -> tuple[dict[str, Any], list[deployment.Problem]]:
    """The flat form of a deployment's fields, and what is wrong: fields given in both forms, and null."""
    flat: dict[str, Any] = {}
    problems: list[deployment.Problem] = []
    for key, value in data.items():
        if value is None:
            problems.append(_problem(key, "must not be null; leave it out"))
        elif isinstance(value, dict) and key in {"runtime", "remote"}:
            problems += _put_nested(flat, key, value, RUNTIME_FORM if key == "runtime" else REMOTE_FORM)
        elif isinstance(value, dict) and key == "placement":
            problems += [_problem(f"placement.{name}", "unknown field") for name in value if name != "labels"]
            problems += _put(flat, key, value.get("labels", {}))
        elif isinstance(value, dict) and key == "processes":
            problems += _put_processes(flat, value)
        elif key in {"env", "env_vars", "secrets"} and isinstance(value, dict):
            problems += _put(flat, FLAT.get(key, key), {name: text_of(item) for name, item in value.items()})
        else:
            problems += _put(flat, FLAT.get(key, key), value)
    return flat, problems


def _put_nested(
    flat: dict[str, Any], name: str, nested: dict[str, Any], form: dict[str, str]
) -> list[deployment.Problem]:
    problems: list[deployment.Problem] = []
    for key, value in nested.items():
        if key not in form:
            problems.append(_problem(f"{name}.{key}", "unknown field"))
        elif not isinstance(value, str):
            problems.append(_problem(f"{name}.{key}", "must be a string"))
        else:
            problems += _put(flat, form[key], value)
    return problems


def _put_processes(flat: dict[str, Any], processes: dict[str, Any]) -> list[deployment.Problem]:
    """Each is its command, or an object of that and of its replicas."""
    parts: dict[str, dict[str, Any]] = {"command": {}, "replicas": {}}
    problems: list[deployment.Problem] = []
    for name, value in processes.items():
        for part, one in (value if isinstance(value, dict) else {"command": value}).items():
            if part in parts:
                parts[part][name] = one
            else:
                problems.append(_problem(f"processes.{name}.{part}", "unknown field"))
    if parts["command"] or not parts["replicas"]:
        problems += _put(flat, "processes", parts["command"])
    return problems + (_put(flat, "process_replicas", parts["replicas"]) if parts["replicas"] else [])


def _put(flat: dict[str, Any], key: str, value: Any) -> list[deployment.Problem]:
    if key in flat:
        return [_problem(key, "given in both the flat and the nested form")]
    flat[key] = value
    return []


def _problem(field: str, issue: str) -> deployment.Problem:
    return {"field": field[:128], "issue": issue}
