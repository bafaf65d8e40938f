"""Reading what strangers wrote: whatever is wrong with it, the answer is an empty document."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

MAX_TEXT = 1 << 20
MAX_TOML, MAX_LINE, MAX_DOTS = 256 << 10, 8 << 10, 64
QUOTED = re.compile(r""""[^"]*"|'[^']*'""")


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
    """The parser's time grows with the dots of a key times those of its table: neither may have many. Those in texts are
    not counted.
    """
    return len(text) <= MAX_TOML and all(
        len(line) <= MAX_LINE and _dots(line) <= MAX_DOTS for line in text.splitlines()
    )


def _dots(line: str) -> int:
    return QUOTED.sub("", line).partition("#")[0].count(".") if line.count(".") > MAX_DOTS else 0


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
