"""The answer to `?dry_run=true`: what would change, in words and as data. Nothing was written."""

from typing import Any, Literal

from control_plane.api import shapes


class PlannedChange(shapes.Shape):
    """One change of the object `target`: `summary` says it in words, `data` holds what a program wants to know."""

    action: str
    target: str
    summary: str
    data: dict[str, Any]


class Plan(shapes.Shape):
    """No changes mean that the call would do nothing. `status` and `result` are what the call itself would answer."""

    dry_run: Literal[True] = True
    plan: list[PlannedChange]
    status: int
    result: Any
