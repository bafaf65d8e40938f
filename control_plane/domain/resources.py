"""Limits of processes as users write them (`{"memory": "512M", "cpu": 0.5}`) and as we keep them. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from control_plane.domain import values

SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?)([KMGT])?(?:iB|B|i)?")
UNITS = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LIMITS = ("memory", "cpu", "pids", "disk")
MIN_MEMORY = 4 << 20
MIN_DISK = 1 << 20
MAX_BYTES = 1 << 50
MAX_CPU = 1024.0
MIN_PIDS, MAX_PIDS = 2, 4_194_304  # a shell and the program that it starts


def size(value: Any) -> int | None:
    """`value` (a number of bytes, or text such as "512M": powers of 1024) in bytes; None when it is no size."""
    if isinstance(value, str) and (match := SIZE.fullmatch(value)):
        return int(float(match[1]) * UNITS[match[2]])
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def problems(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """None of a limit is no limit."""
    found = [
        {"field": f"resources.{key}", "issue": _issue(key, value)} for key, value in given.items() if value is not None
    ]
    return [problem for problem in found if problem["issue"]]


def parsed(declared: Mapping[str, Any]) -> values.Resources:
    """The limits of keys that have no problem."""
    return values.Resources(
        memory_bytes=size(declared.get("memory")) or 0,
        cpu=float(declared.get("cpu") or 0),
        pids=declared.get("pids") or 0,
        disk_bytes=size(declared.get("disk")) or 0,
        strict=bool(declared.get("strict")),
    )


def given(limits: values.Resources) -> dict[str, int | float]:
    """Those that are set, by the API's names."""
    found = {"memory": limits.memory_bytes, "cpu": limits.cpu, "pids": limits.pids, "disk": limits.disk_bytes}
    return {name: value for name, value in found.items() if value}


def declared(limits: values.Resources) -> dict[str, Any]:
    """The keys that `parsed` reads back to the same limits."""
    return {**given(limits), **({"strict": True} if limits.strict else {})}


def _issue(key: str, value: Any) -> str:
    if key in {"memory", "disk"}:
        least = MIN_MEMORY if key == "memory" else MIN_DISK
        found = size(value)
        right = found is not None and least <= found <= MAX_BYTES
        return "" if right else f"must be a size such as 512M, at least {least >> 20}M"
    if key == "cpu":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if is_number and 0.01 <= value <= MAX_CPU else f"must be 0.01 to {MAX_CPU:g} processors"
    if key == "pids":
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if is_whole and MIN_PIDS <= value <= MAX_PIDS else f"must be {MIN_PIDS} to {MAX_PIDS}"
    if key == "strict":
        return "" if isinstance(value, bool) else "must be true or false"
    return "unknown field"
