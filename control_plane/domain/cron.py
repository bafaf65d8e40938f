"""Cron entries as users write them (`{"tidy": {"schedule": "@daily", "command": "…"}}`) and as we keep them. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain import health, values
from schedules import cron
from schedules.entries import LONGEST_S, MAX_ENTRIES, NAME, NAME_ISSUE, OVERLAPS, REQUIRED, SHORTEST_S

Given = Mapping[str, Mapping[str, Any]]


def _schedule_issue(value: Any) -> str:
    try:
        cron.parse(value if isinstance(value, str) else "")
    except cron.ScheduleError as error:
        return str(error)
    return ""


RULES: dict[str, Callable[[Any], str]] = {
    "schedule": _schedule_issue,
    "command": health.command_issue,
    "overlap": lambda value: "" if value in OVERLAPS else f"must be one of {', '.join(OVERLAPS)}",
    "timeout": health.within(SHORTEST_S, LONGEST_S),
}


def problems(given: Given) -> list[dict[str, Any]]:
    found = [problem for name, entry in given.items() for problem in _of_entry(name, entry)]
    if len(given) > MAX_ENTRIES:
        found.append({"field": "cron", "issue": f"must be at most {MAX_ENTRIES}"})
    return found


def _of_entry(name: str, entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    field = f"cron.{name[:64]}"
    if not NAME.fullmatch(name):
        return [{"field": field, "issue": NAME_ISSUE}]
    issues = {key: RULES[key](value) if key in RULES else "unknown field" for key, value in entry.items()}
    issues |= {key: "is required" for key in REQUIRED if key not in entry}
    return [{"field": f"{field}.{key[:64]}", "issue": issue} for key, issue in issues.items() if issue]


def parsed(given: Given) -> tuple[values.CronEntry, ...]:
    """The entries of keys that have no problem."""
    return tuple(_entry(name, given[name]) for name in sorted(given))


def _entry(name: str, entry: Mapping[str, Any]) -> values.CronEntry:
    usual = values.CronEntry(name, "", "")
    return values.CronEntry(
        name=name,
        schedule=cron.normal(entry["schedule"]),
        command=entry["command"].strip(),
        overlap=entry.get("overlap", usual.overlap),
        timeout_s=health.seconds(entry.get("timeout")) or usual.timeout_s,
    )


def merged(entries: tuple[values.CronEntry, ...], given: Mapping[str, Mapping[str, Any] | None]) -> Given:
    """The keys of `entries` with `given` over them, to be checked like new ones. None takes an entry or a key away."""
    both: dict[str, Mapping[str, Any] | None] = dict(declared(entries))
    for name, changes in given.items():
        both[name] = None if changes is None else {**(both.get(name) or {}), **changes}
    return {
        name: {key: value for key, value in entry.items() if value is not None or key not in RULES}
        for name, entry in both.items()
        if entry is not None
    }


def declared(entries: tuple[values.CronEntry, ...]) -> dict[str, dict[str, Any]]:
    """The keys that `parsed` reads back to the same entries."""
    return {
        one.name: {"schedule": one.schedule, "command": one.command, "overlap": one.overlap, "timeout": one.timeout_s}
        for one in entries
    }
