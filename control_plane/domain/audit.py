"""The audit as a chain: each entry's hash covers the one before, so that nothing can be changed or left out unseen."""

import dataclasses
import datetime
import hashlib
import json
from collections.abc import Iterable

from control_plane.domain import values

GENESIS = "0" * 64
SAID = tuple(field.name for field in dataclasses.fields(values.AuditEntry) if field.name != "hash")


def linked(entry: values.AuditEntry, sequence: int, previous: str) -> values.AuditEntry:
    """`entry` as the next one of the chain, behind the entry whose hash is `previous`."""
    numbered = dataclasses.replace(entry, sequence=sequence, previous=previous)
    return dataclasses.replace(numbered, hash=digest(numbered))


def digest(entry: values.AuditEntry) -> str:
    """SHA-256 in hex over everything that the entry says, its place in the chain included."""
    said = {name: getattr(entry, name) for name in SAID} | {"at": _time(entry.at)}
    return hashlib.sha256(json.dumps(said, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def first_break(entries: Iterable[values.AuditEntry], count: int | None = None) -> str:
    """What is wrong with the chain, oldest first; "" when it holds. `count` is how many there must be."""
    sequence, previous = 0, GENESIS
    for entry in entries:
        if entry.sequence != sequence + 1:
            return f"entry {sequence + 1} is missing"
        if entry.previous != previous or entry.hash != digest(entry):
            return f"entry {entry.sequence} was changed"
        sequence, previous = entry.sequence, entry.hash
    if count is not None and sequence != count:
        return f"entries {sequence + 1} to {count} are missing"
    return ""


def _time(at: values.Time) -> str:
    return at.astimezone(datetime.UTC).isoformat(timespec="microseconds")
