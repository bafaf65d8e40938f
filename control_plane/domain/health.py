"""A health check as users write it (`{"path": "/ready", "timeout": "5s"}`) and as we keep it."""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any

from control_plane.domain import grammar, values

DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s|m|h)?")
UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
KINDS = ("http", "tcp", "command")
MAX_COMMAND = 4096
PATH = re.compile(r"/[A-Za-z0-9._~%/?&=+@:,;!$'()*-]{0,1023}")


def seconds(value: Any) -> float | None:
    """`value` (a number, or text such as "30s", "500ms", "2m", "1h") in seconds; None when it is no duration."""
    if isinstance(value, str) and (match := DURATION.fullmatch(value)):
        return float(match[1]) * UNITS_S[match[2]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # JSON knows integers of any length
            return float(value)
    return None


def within(low: float, high: float) -> Callable[[Any], str]:
    def issue(value: Any) -> str:
        found = seconds(value)
        return "" if found is not None and low <= found <= high else f"must be {low:g} to {high:g} seconds"

    return issue


def _retries_issue(value: Any) -> str:
    return "" if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 20 else "must be 1 to 20"


def command_issue(value: Any) -> str:
    is_command = isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_COMMAND
    return "" if is_command and grammar.is_text(value) else f"must be a command of at most {MAX_COMMAND} characters"


RULES: dict[str, Callable[[Any], str]] = {
    "kind": lambda value: "" if value in KINDS else f"must be one of {', '.join(KINDS)}",
    "command": command_issue,
    "path": lambda value: "" if isinstance(value, str) and PATH.fullmatch(value) else "must be a path such as /ready",
    "interval": within(0.05, 300),
    "timeout": within(0.05, 300),
    "retries": _retries_issue,
    "start_period": within(1, 3600),
}


def problems(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [
        {"field": f"health_check.{key}", "issue": RULES[key](value) if key in RULES else "unknown field"}
        for key, value in given.items()
    ]
    if "command" in given and given.get("kind", "command") != "command":
        found.append({"field": "health_check.command", "issue": "is for the kind command"})
    return [problem for problem in found if problem["issue"]]


def parsed(given: Mapping[str, Any]) -> values.HealthCheck:
    """The check of keys that have no problem. A command without a kind means command, a path http."""
    default = values.HealthCheck()
    return values.HealthCheck(
        kind=given.get("kind", implied(given) or default.kind),
        path=given.get("path", default.path),
        interval_s=seconds(given.get("interval", default.interval_s)) or default.interval_s,
        timeout_s=seconds(given.get("timeout", default.timeout_s)) or default.timeout_s,
        retries=given.get("retries", default.retries),
        start_period_s=seconds(given.get("start_period", default.start_period_s)) or default.start_period_s,
        command=given.get("command", default.command).strip(),
    )


def implied(given: Mapping[str, Any]) -> str:
    """The kind that the keys tell when none is given; "" when they tell none."""
    return "command" if "command" in given else "http" if "path" in given else ""


def merged(check: values.HealthCheck, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of `check` with `given` over them, to be checked like new ones. None is the default again."""
    kind = {"kind": implied(given)} if implied(given) and "kind" not in given else {}
    both = {**declared(check), **kind, **given}
    both["kind"] = both["kind"] or values.HealthCheck().kind
    if both["kind"] != "command" and "command" not in given:
        both.pop("command", None)
    return {key: value for key, value in both.items() if value is not None}


def declared(check: values.HealthCheck) -> dict[str, Any]:
    """The keys that `parsed` reads back to the same check."""
    return {
        "kind": check.kind,
        "path": check.path,
        "interval": check.interval_s,
        "timeout": check.timeout_s,
        "retries": check.retries,
        "start_period": check.start_period_s,
        **({"command": check.command} if check.command else {}),
    }
