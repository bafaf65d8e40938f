"""Versions of runtimes: what a request like "20" or "3.12.1" means among the versions that are there."""

import re
from collections.abc import Iterable

NODE_LINES = ("18", "20", "22", "24")
OLDEST_NODE = (18,)
OLDEST_PYTHON = (3, 8)
VERSION = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,2}")


def parts(version: str) -> tuple[int, ...]:
    """The numbers of `3.12.1` as (3, 12, 1). ValueError for anything but up to three numbers."""
    if not VERSION.fullmatch(version):
        raise ValueError(f"cannot read {version!r} as a version")
    return tuple(int(part) for part in version.split("."))


def is_request(version: str) -> bool:
    """True for what may be asked for: nothing, or one to three numbers."""
    return not version or VERSION.fullmatch(version) is not None


def satisfies(exact: str, wanted: str) -> bool:
    """Is the exact version one of the wanted line? Nothing wanted: all are."""
    try:
        return not wanted or parts(exact)[: len(parts(wanted))] == parts(wanted)
    except ValueError:
        return False


def newest(versions: Iterable[str], wanted: str, oldest: tuple[int, ...] = ()) -> str | None:
    """The newest version that satisfies `wanted`; `oldest` counts only when nothing is wanted."""
    found = [version for version in versions if VERSION.fullmatch(version) and satisfies(version, wanted)]
    if not wanted:
        found = [version for version in found if parts(version) >= oldest]
    return max(found, key=parts, default=None)


def lines(versions: Iterable[str], depth: int) -> tuple[str, ...]:
    """The release lines of exact versions, oldest first: (3.11.7, 3.12.1) at depth 2 → (3.11, 3.12)."""
    found = {parts(version)[:depth] for version in versions if VERSION.fullmatch(version)}
    return tuple(".".join(str(part) for part in line) for line in sorted(found))
