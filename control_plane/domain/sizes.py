"""Sizes as users write them: a number of bytes, or text such as "512M". Pure."""

import re
from typing import Any

SIZE = re.compile(r"([0-9]{1,15})([KMGT]?)i?B?")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LARGEST = 1 << 50


def octets(value: Any) -> int | None:
    """`value` in bytes; None when it is no size, or a larger one than any disk."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= LARGEST else None
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    size = int(found[1]) * UNITS[found[2]]
    return size if size <= LARGEST else None
