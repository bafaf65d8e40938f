"""The answer to `?dry_run=true`: what would change, in words and as data. Nothing was written."""

from typing import Any, Literal

from control_plane.api import shapes


class PlannedChange(shapes.Shape):
    """One change: `summary` says it in words; `before` and `after` hold the fields that differ."""

    action: Literal["create", "update", "delete"]
    object: str
    id: str | None
    summary: str
    before: dict[str, Any]
    after: dict[str, Any]


class Plan(shapes.Shape):
    """No changes mean that the call would do nothing."""

    dry_run: Literal[True] = True
    changes: list[PlannedChange]
