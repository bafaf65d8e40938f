"""One value as one word of nginx's configuration."""

import unicodedata


def quoted(value: str) -> str:
    """`value` as one nginx word; ValueError for what quoting cannot make harmless (control characters, variables)."""
    if "$" in value or any(unicodedata.category(c) in {"Cc", "Cs"} for c in value):
        raise ValueError(f"cannot write {value!r} into nginx's configuration: it has a control character or a $")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
