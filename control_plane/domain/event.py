"""What happens, by name, and which of it a receiver wants. Pure."""

from collections.abc import Sequence
from typing import Any

from control_plane import errors

# Of the contract, so they may be asked for; nothing sends them, because no agent gets certificates for routes yet.
UNSENT = tuple(f"certificate.{word}" for word in ("issued", "expiring", "failed"))
TYPES = (
    *(f"deployment.{word}" for word in ("created", "building", "succeeded", "failed", "cancelled", "rolled_back")),
    *("deployment.updated", "deployment.deleted"),
    *(f"service.{word}" for word in ("started", "stopped", "restarted", "crashed", "unhealthy", "recovered")),
    *(f"instance.{word}" for word in ("joined", "online", "offline", "drained", "removed")),
    *(f"route.{word}" for word in ("created", "active", "failed", "deleted")),
    *UNSENT,
    "auth.reuse_detected",
    "webhook.test",
)
PATTERNS = ("*", *sorted({f"{name.partition('.')[0]}.*" for name in TYPES}))


def checked_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """What a webhook may ask for: names of events, `deployment.*` and the like, or `*`. InvalidError names the field."""
    if problems := pattern_problems(patterns):
        raise errors.InvalidError.several("cannot subscribe to this", problems)
    return tuple(dict.fromkeys(patterns))


def pattern_problems(patterns: Sequence[str]) -> list[dict[str, Any]]:
    if not patterns:
        return [{"field": "events", "issue": "is required: name events, or *"}]
    supported = [*PATTERNS, *TYPES]
    return [
        {"field": f"events.{index}", "issue": "unknown event", "supported": supported}
        for index, pattern in enumerate(patterns)
        if pattern not in TYPES and pattern not in PATTERNS
    ]


def is_wanted(patterns: Sequence[str], name: str) -> bool:
    """Whether one of `patterns` covers the event `name`. A test is for everybody."""
    return name == "webhook.test" or any(
        pattern in {"*", name} or (pattern.endswith(".*") and name.startswith(pattern[:-1])) for pattern in patterns
    )


def matching(text: str) -> tuple[str, ...]:
    """The types that a filter such as `route.*,deployment.failed` lets through; () for everything. InvalidError."""
    patterns = [pattern.strip() for pattern in text.split(",")]
    unknown = next((pattern for pattern in patterns if pattern not in TYPES and pattern not in PATTERNS), None)
    if unknown is not None:
        raise errors.InvalidError.field(
            f"cannot list events of type {unknown[:100]!r}: no such event",
            "type",
            "unknown event",
            supported=[*PATTERNS, *TYPES],
        )
    if "*" in patterns:
        return ()
    return tuple(name for name in TYPES if name in patterns or f"{name.partition('.')[0]}.*" in patterns)
