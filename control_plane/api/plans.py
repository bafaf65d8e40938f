"""The answer to `?dry_run=true`: what would change, in words and as data. Nothing was written."""

from typing import Any, Literal

from control_plane.api import shapes


class PlannedChange(shapes.Shape):
    """One change: `summary` says it in words, `data` what differs. `target` is the id of the object."""

    action: str
    target: str
    summary: str
    data: dict[str, Any]


class Plan(shapes.Shape):
    """`status` and `result` are what the call itself would answer. No changes mean that it would do nothing."""

    dry_run: Literal[True] = True
    changes: list[PlannedChange]
    status: int
    result: dict[str, Any] | None
