"""What differs between two configurations, field by field, for plans, the audit and people. Secrets differ in silence. Pure."""

import dataclasses
from typing import Any

from control_plane.domain import cron, values

SILENT = frozenset({"git_token"})
HIDDEN = "********"


def of_configs(old: values.Config, new: values.Config) -> list[dict[str, Any]]:
    """One `{"field", "from", "to"}` for each field that differs, variables as `env.KEY`; None is "not there"."""
    found = [
        {"field": field.name, "from": _shown(field.name, before), "to": _shown(field.name, after)}
        for field in dataclasses.fields(values.Config)
        if field.compare
        and field.name != "env"
        and (before := getattr(old, field.name)) != (after := getattr(new, field.name))
    ]
    return found + _of_env(old.env, new.env)


def _of_env(old: tuple[values.Variable, ...], new: tuple[values.Variable, ...]) -> list[dict[str, Any]]:
    before, after = {one.key: one for one in old}, {one.key: one for one in new}
    secret = {one.key for one in (*old, *new) if one.secret}  # on one side: it may be the same value on the other
    return [
        {
            "field": f"env.{key}",
            "from": _value(before.get(key), hidden=key in secret),
            "to": _value(after.get(key), hidden=key in secret),
        }
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def without_values(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For the audit, which is neither sealed nor ever changed: of variables only that they differ."""
    return [
        {**one, "from": one["from"] and HIDDEN, "to": one["to"] and HIDDEN} if one["field"].startswith("env.") else one
        for one in changes
    ]


def _value(variable: values.Variable | None, *, hidden: bool) -> str | None:
    if variable is None:
        return None
    return HIDDEN if hidden else variable.value


def _shown(field: str, value: Any) -> Any:
    if field in SILENT:
        return HIDDEN if value else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if field == "cron":
        return cron.declared(value)
    return dict(value) if isinstance(value, tuple) else value
