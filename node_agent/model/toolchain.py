"""Versions of runtimes: what a request like "20", "3.12.1" or ">=18" means among the versions that are there."""

from collections.abc import Iterable, Iterator

from detection import versions

# What the registries have; versions of lines beside these may be had too.
NODE_LINES = ("16", "18", "20", "22", "24")
GO_LINES = ("1.24", "1.25", "1.26", "1.27")
OLDEST_NODE = (18,)
OLDEST_PYTHON = (3, 8)
VERSION = versions.NUMBERS
parts, is_request, satisfies = versions.parts, versions.is_request, versions.satisfies


def newest(found: Iterable[str], wanted: str, oldest: tuple[int, ...] = ()) -> str | None:
    """The newest version that satisfies `wanted`; `oldest` counts only when nothing is wanted."""
    those = [version for version in found if satisfies(version, wanted)]
    if not wanted:
        those = [version for version in those if parts(version) >= oldest]
    return max(those, key=parts, default=None)


def line_for(wanted: str, known: tuple[str, ...], usual: str) -> str:
    """What to ask a registry for: `wanted` itself when it is a version, else the best of the lines that it allows.

    The usual line when it is allowed, else the newest, else the part of a line that a narrow range begins with. "" when
    nothing known is.
    """
    if wanted and VERSION.fullmatch(wanted):
        return wanted
    allowed = [line for line in known if versions.allows_line(line, wanted)]
    if not allowed:
        return next(_narrower(wanted, known), "")
    return usual if usual in allowed else max(allowed, key=parts)


def _narrower(wanted: str, known: tuple[str, ...]) -> Iterator[str]:
    """Of a range inside one line, such as ~18.17.0: 18.17."""
    for least in versions.least(wanted):
        if any(satisfies(least, line) for line in known):
            yield from (part for part in (least.rpartition(".")[0], least) if versions.allows_line(part, wanted))


def lines(found: Iterable[str], depth: int) -> tuple[str, ...]:
    """The release lines of exact versions, oldest first: (3.11.7, 3.12.1) at depth 2 → (3.11, 3.12)."""
    those = {parts(version)[:depth] for version in found if VERSION.fullmatch(version)}
    return tuple(".".join(str(part) for part in line) for line in sorted(those))
