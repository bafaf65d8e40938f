"""The brackets of a pattern, such as [!a-c[:digit:]], as git reads them. Pure."""

import re

CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r" \t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r" \t\n\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
# A class, a range or one character; what has a backslash before it stands for itself.
ITEM = re.compile(r"\[:(?P<kind>[^\]]*):\]|(?P<low>\\.|[^\\])(?:-(?P<high>\\.|[^\\\]]))?", re.DOTALL)


def read(text: str) -> tuple[int, str] | None:
    """How many characters the bracket at the beginning of `text` has, and it as a regular expression.

    None when it is not closed, or names a class that there is not: a pattern with such a one fits nothing.
    """
    negates = text[1:2] in {"!", "^"}
    start = at = 2 if negates else 1
    parts = []
    while at == start or text[at : at + 1] != "]":  # as the first character it is one of them
        item = ITEM.match(text, at)
        part = item and (_range(item["low"], item["high"]) if item["low"] else CLASSES.get(item["kind"]))
        if not item or not part:
            return None
        parts.append(part)
        at = item.end()
    return at + 1, f"(?!/)[{'^' if negates else ''}{''.join(parts)}]"


def _range(low: str, high: str | None) -> str:
    """The first of a range belongs to it even when the last comes before it."""
    first, last = low[-1], high[-1] if high else ""
    return f"{re.escape(first)}-{re.escape(last)}" if first <= last else re.escape(first)
