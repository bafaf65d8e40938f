"""Reading what strangers wrote: whatever is wrong with it, the answer is an empty document."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

MAX_TEXT = 1 << 20
MAX_TOML, MAX_LINE = 256 << 10, 8 << 10


def from_json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if len(text) <= MAX_TEXT else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def from_toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text) if is_tame_toml(text) else {}
    except (ValueError, RecursionError):
        return {}


def is_tame_toml(text: str) -> bool:
    """The parser's time grows with the square of a key's dots, so what has very long lines is not given to it."""
    return len(text) <= MAX_TOML and max(map(len, text.splitlines()), default=0) <= MAX_LINE


def table(document: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The mapping at the end of a path of names, empty when something else is there."""
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def text(document: Mapping[str, Any], name: str) -> str:
    found = document.get(name)
    return found.strip() if isinstance(found, str) else ""


def lines(content: str) -> list[str]:
    """What is no comment and not empty."""
    cut = (line.split("#")[0].strip() for line in content[:MAX_TEXT].splitlines())
    return [line for line in cut if line]
