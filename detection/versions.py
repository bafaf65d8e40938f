"""Versions as people write them: `20`, `3.12.1`, `^18 || >=20.5 <23`, `~=3.11`, `lts/iron`. Pure."""

import re

NUMBERS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")
MAX_TEXT = 200
CODENAMES = {"gallium": "16", "hydrogen": "18", "iron": "20", "jod": "22", "krypton": "24"}
ANYTHING = frozenset({"", "*", "x", "latest", "node", "current", "stable", "lts", "lts/*", "lts/-1"})
PART = re.compile(r"(?:(\^|~>|~=|~|>=|<=|===?|!=|>|<|=)\s*v?)?([0-9]{1,4}(?:\.(?:[0-9]{1,4}|[xX*])){0,2}|[xX*])")
HYPHEN = re.compile(r"v?([0-9.]+)\s+-\s+v?([0-9.]+)")
TOP = (1 << 20, 0, 0)

Bound = tuple[int, ...]
Range = tuple[tuple[Bound, Bound, bool], ...]  # [low, high) of one alternative; True turns it around


def parts(version: str) -> tuple[int, ...]:
    """The numbers of `3.12.1` as (3, 12, 1). ValueError for anything but up to three numbers."""
    if not NUMBERS.fullmatch(version):
        raise ValueError(f"cannot read {version!r} as a version")
    return tuple(int(part) for part in version.split("."))


def normal(text: str) -> str:
    """What a version file says, in one form: "" for any version, and for what cannot be read as a version or a range."""
    said = text.strip()[: MAX_TEXT + 1].strip("'\"")
    lowered = said.lower().removeprefix("v")
    if lowered in ANYTHING or len(said) > MAX_TEXT:
        return ""
    if lowered.startswith("lts/"):
        return CODENAMES.get(lowered.removeprefix("lts/"), "")
    return lowered if is_request(lowered) else ""


def is_request(text: str) -> bool:
    """True for what may be asked for: nothing, a version, or a range."""
    return not text or NUMBERS.fullmatch(text) is not None or _alternatives(text) is not None


def satisfies(exact: str, wanted: str) -> bool:
    """Is the exact version one of those that are wanted? Nothing wanted: all are."""
    if not NUMBERS.fullmatch(exact):
        return False
    if not wanted:
        return True
    if NUMBERS.fullmatch(wanted):
        return parts(exact)[: len(parts(wanted))] == parts(wanted)
    return _within(_padded(parts(exact)), wanted)


def allows_line(line: str, wanted: str) -> bool:
    """May versions of `line` (20, 3.12) satisfy `wanted`?"""
    if not wanted or NUMBERS.fullmatch(wanted):
        shared = min(len(parts(line)), len(parts(wanted))) if wanted else 0
        return parts(line)[:shared] == parts(wanted or "0")[:shared]
    ends = (_padded(parts(line)), (*parts(line), *(9999, 9999)[: 3 - len(parts(line))]))
    return any(_within(end, wanted) for end in ends)


def least(wanted: str) -> tuple[str, ...]:
    """The least version of each alternative of a range, newest first."""
    bounds = ([low for low, _, out in one if not out] for one in _alternatives(wanted) or [])
    return tuple(".".join(map(str, low)) for low in sorted({max(lows) for lows in bounds if lows}, reverse=True))


def _within(version: Bound, wanted: str) -> bool:
    alternatives = _alternatives(wanted) or []
    return any(all((low <= version < high) != out for low, high, out in one) for one in alternatives)


def _alternatives(text: str) -> list[Range] | None:
    """Each is bounds that hold together; None for what is no range."""
    if len(text) > MAX_TEXT:
        return None
    found = [_bounds(one.strip()) for one in text.split("||")]
    return None if any(one is None for one in found) else [one for one in found if one is not None]


def _bounds(text: str) -> Range | None:
    if match := HYPHEN.fullmatch(text):
        return _one(">=", match[1]) + _one("<=", match[2]) if all(map(NUMBERS.fullmatch, match.groups())) else None
    bounds: Range = ()
    rest = text.replace(",", " ").strip()
    while rest:
        match = PART.match(rest)
        if match is None or (
            match.end() < len(rest) and not rest[match.end()].isspace() and rest[match.end()] not in "<>=!^~"
        ):
            return None
        bounds += _one(match[1] or "", match[2])
        rest = rest[match.end() :].strip()
    return bounds or None


def _one(sign: str, written: str) -> Range:
    numbers = tuple(int(part) for part in re.split(r"\.[xX*]|[xX*]", written)[0].split(".") if part)[:3]
    low = _padded(numbers)
    if sign in {"", "=", "==", "==="}:
        return ((low, _after(numbers), False),)
    if sign == "!=":
        return ((low, _after(numbers), True),)
    if sign == ">=":
        return ((low, TOP, False),)
    if sign == ">":
        return ((_after(numbers), TOP, False),)
    if sign == "<":
        return (((0, 0, 0), low, False),)
    if sign == "<=":
        return (((0, 0, 0), _after(numbers), False),)
    if sign == "^":
        return ((low, _after(numbers[:1]), False),)
    # ~20 is 20.x, ~20.1 is 20.1.x; ~=3.11 and ~>3.11 are 3.11 and later ones of 3, ~=3.11.2 those of 3.11
    kept = numbers[: min(2, len(numbers))] if sign == "~" else numbers[: max(1, len(numbers) - 1)]
    return ((low, _after(kept), False),)


def _padded(numbers: tuple[int, ...]) -> Bound:
    return (*numbers, 0, 0, 0)[:3]


def _after(numbers: tuple[int, ...]) -> Bound:
    """The first version that is none of the line `numbers`."""
    return _padded((*numbers[:-1], numbers[-1] + 1)) if numbers else TOP
