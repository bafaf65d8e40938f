"""How a release takes over, as users write it (`"rolling"`, `{"kind": "canary", "weight": 10}`) and as we keep it. Pure."""

from collections.abc import Mapping
from typing import Any

from control_plane.domain import health, values

KINDS = ("rolling", "recreate", "canary")
OF_CANARY = ("weight", "steps", "interval")
MAX_STEPS = 20
DEFAULT_WEIGHT = 10
DEFAULT_INTERVAL_S = 60.0

Given = str | Mapping[str, Any]


def kind_of(given: Given) -> Any:
    return (
        given if isinstance(given, str) else given.get("kind", "canary" if set(given) & set(OF_CANARY) else "rolling")
    )


def problems(given: Given) -> list[dict[str, Any]]:
    kind = kind_of(given)
    if kind not in KINDS:
        field = "strategy" if isinstance(given, str) else "strategy.kind"
        return [{"field": field, "issue": "Unsupported strategy", "supported": list(KINDS)}]
    if isinstance(given, str):
        return []
    found = []
    for key, value in given.items():
        if key != "kind" and (issue := _issue(key, value, kind)):
            found.append({"field": f"strategy.{key}", "issue": issue})
    return found


def parsed(given: Given) -> values.Strategy:
    """The strategy of what has no problem. A canary begins with 10 percent and is whole after a minute, unless told."""
    kind = kind_of(given)
    if isinstance(given, str) or kind != "canary":
        given = {}
    canary = kind == "canary"
    return values.Strategy(
        kind=kind,
        weight=given.get("weight", DEFAULT_WEIGHT if canary else 0),
        steps=tuple(given.get("steps", ())),
        interval_s=health.seconds(given.get("interval", DEFAULT_INTERVAL_S if canary else 0.0)) or 0.0,
    )


def trial_s(strategy: values.Strategy) -> float:
    """How long a canary gets a part of the requests, all steps together."""
    return strategy.interval_s * (1 + len(strategy.steps)) if strategy.kind == "canary" else 0.0


def declared(strategy: values.Strategy) -> Given:
    """What `parsed` reads back to the same strategy."""
    if strategy.kind != "canary":
        return strategy.kind
    return {
        "kind": strategy.kind,
        "weight": strategy.weight,
        "steps": list(strategy.steps),
        "interval": strategy.interval_s,
    }


def _issue(key: str, value: Any, kind: str) -> str:
    if key not in OF_CANARY:
        return "unknown field"
    if kind != "canary":
        return "is for the kind canary"
    if key == "interval":
        found = health.seconds(value)
        return "" if found is not None and 1 <= found <= 86_400 else "must be 1 to 86400 seconds"
    if key == "weight":
        return "" if _is_percent(value) else "must be 1 to 99 percent"
    whole = isinstance(value, list) and len(value) <= MAX_STEPS and all(_is_percent(step) for step in value)
    if whole and value == sorted(set(value)):
        return ""
    return f"must be at most {MAX_STEPS} rising percentages from 1 to 99"


def _is_percent(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 99
