"""Room on the disk: what a build needs and may take, what can be deleted, what to say. Decides; touches nothing.

What was measured is a mapping from paths below the data directory to their use: `toolchains/node-22.1.0`, `cache/npm`,
`cache/git/<mirror>`, `services/<id>/releases`; everything else by its first name.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

MIB = 1 << 20
GIB = 1 << 30
DAY_S = 86400.0
MORE = 1.25  # than the last time
LONGEST_S = 10.0  # without a look at a build
JUST_USED_S = 3600.0
SHOWN = 3
PARTS = {"build-home": "caches", "build-tmp": "builds", "home": "data", "tmp": "data"}
PLACES = {"agent": "journal", "toolchains": "toolchains", "trash": "trash"}
NAMES = {
    "mirrors": "git mirrors",
    "caches": "package caches",
    "journal": "the agent's journal",
    "toolchains": "toolchains",
    "trash": "what is being deleted",
    "other": "the daemons' own files",
}
MIRRORS, MIRROR_NAME = "cache/git/", 64


@dataclasses.dataclass(frozen=True, slots=True)
class Space:
    """Of a file system, as users without privilege may take it. One that does not count its inodes has 0 of them."""

    total_bytes: int
    free_bytes: int
    total_inodes: int
    free_inodes: int


@dataclasses.dataclass(frozen=True, slots=True)
class Use:
    """`used_at` is when something of it changed last, or was asked for, in seconds since the epoch."""

    bytes: int = 0
    entries: int = 0
    used_at: float = 0.0

    def __add__(self, other: "Use") -> "Use":
        return Use(self.bytes + other.bytes, self.entries + other.entries, max(self.used_at, other.used_at))


NOTHING = Use()
Measured = Mapping[str, Use]


@dataclasses.dataclass(frozen=True, slots=True)
class Budgets:
    """`reserve_bytes` stay free for the host, None: what its disk makes sensible. `build` is the most that one build takes
    where its release names no other, `least` what one is taken to need at least. Caches and toolchains that nobody used
    for `caches_age_s` go while all of them have more than `caches_bytes`.
    """

    reserve_bytes: int | None = None
    build: Use = Use(4 * GIB, 500_000)
    least: Use = Use(64 * MIB, 5_000)
    caches_bytes: int = 10 * GIB
    caches_age_s: float = 14 * DAY_S


def budgets(reserve_bytes: int | None, build_bytes: int | None, caches_bytes: int | None) -> Budgets:
    """Those that the operator chose, None where nothing was said."""
    default = Budgets()
    return Budgets(
        reserve_bytes=reserve_bytes,
        build=default.build if build_bytes is None else Use(build_bytes, default.build.entries),
        caches_bytes=default.caches_bytes if caches_bytes is None else caches_bytes,
    )


def reserve(space: Space, budgets: Budgets) -> Use:
    """What no build may take: by default a twentieth of the disk, 1 GiB at most, and a fiftieth of its inodes."""
    chosen = budgets.reserve_bytes
    of_bytes = min(GIB, space.total_bytes // 20) if chosen is None else chosen
    return Use(of_bytes, min(20_000, space.total_inodes // 50))


def need(last: Use | None, budgets: Budgets) -> Use:
    """What a build will take, going by the service's last one."""
    last, least = last or NOTHING, budgets.least
    return Use(max(least.bytes, int(last.bytes * MORE)), max(least.entries, int(last.entries * MORE)))


def missing(space: Space, kept: Use, wanted: Use) -> Use | None:
    """What must be freed before there is room for `wanted` beside what is kept; None when there is."""
    of_bytes = max(0, wanted.bytes + kept.bytes - space.free_bytes)
    of_inodes = max(0, wanted.entries + kept.entries - space.free_inodes) if space.total_inodes else 0
    return Use(of_bytes, of_inodes) if of_bytes or of_inodes else None


def must_look(quota: Use, known: Use, before: Space, now: Space, waited_s: float) -> bool:
    """Could a build that had `known` when the disk had `before` be beyond its quota now? Then it is measured again."""
    of_bytes = known.bytes + max(0, before.free_bytes - now.free_bytes)
    of_inodes = known.entries + max(0, before.free_inodes - now.free_inodes)
    return waited_s >= LONGEST_S or of_bytes > quota.bytes or of_inodes > quota.entries


def is_beyond(quota: Use, found: Use) -> bool:
    return found.bytes > quota.bytes or found.entries > quota.entries


def of_build(measured: Measured, service_id: str) -> Use:
    """The tree of a service's build, its temporary files, and its caches where they are its own."""
    parts = ("builds", "build-home", "build-tmp")
    return sum((measured.get(f"services/{service_id}/{part}", NOTHING) for part in parts), NOTHING)


def services(measured: Measured) -> frozenset[str]:
    return frozenset(path.split("/")[1] for path in measured if path.startswith("services/") and path.count("/") == 2)


def is_cache(path: str) -> bool:
    """May it be deleted, and made or fetched again when it is wanted?"""
    top, _, name = path.partition("/")
    if top == "toolchains":
        return bool(name) and not name.startswith(".")  # what is being made
    if top == "cache":
        return is_mirror(path) or (bool(name) and not name.startswith("git"))
    return top == "services" and name.endswith("/build-home")


def is_mirror(path: str) -> bool:
    return path.startswith(MIRRORS) and len(path) == len(MIRRORS) + MIRROR_NAME


def victims(
    measured: Measured, is_used: Callable[[str], bool], budgets: Budgets, now: float, wanted: Use = NOTHING
) -> tuple[str, ...]:
    """The caches that go, those first that nobody used for the longest time: too old ones while all have more than their
    budget, and any until `wanted` is free. Never what is used, nor a toolchain that was asked for just now.
    """
    found = {path: use for path, use in measured.items() if is_cache(path) and use.entries > 1}
    total, freed, chosen = sum(use.bytes for use in found.values()), NOTHING, []
    for path, use in sorted(found.items(), key=lambda item: item[1].used_at):
        age_s = now - use.used_at
        is_old = age_s >= budgets.caches_age_s and total > budgets.caches_bytes
        is_short = freed.bytes < wanted.bytes or freed.entries < wanted.entries
        if not (is_old or is_short) or is_used(path) or (path.startswith("toolchains/") and age_s < JUST_USED_S):
            continue
        chosen.append(path)
        total, freed = total - use.bytes, freed + use
    return tuple(chosen)


def told(space: Space, kept: Use, measured: Measured, measured_at: float) -> dict[str, Any]:
    """All of it for the control plane: by service and what it has, and what nobody's service has."""
    own: dict[str, dict[str, Use]] = {}
    shared: dict[str, Use] = {}
    for path, use in measured.items():
        top, _, name = path.partition("/")
        if top == "services" and "/" in name:
            service_id, _, part = name.partition("/")
            _add(own.setdefault(service_id, {}), PARTS.get(part, part), use)
        elif top != "services":
            _add(shared, _shared(path), use)
    return {
        **{field.name: getattr(space, field.name) for field in dataclasses.fields(space)},
        "reserve_bytes": kept.bytes,
        "reserve_inodes": kept.entries,
        "measured_at": measured_at or None,
        "shared": _numbers(shared),
        "services": {service_id: _numbers(parts) for service_id, parts in own.items()},
    }


def _add(found: dict[str, Use], name: str, use: Use) -> None:
    found[name] = found.get(name, NOTHING) + use


def _numbers(parts: Mapping[str, Use]) -> dict[str, dict[str, int]]:
    return {part: {"bytes": use.bytes, "entries": use.entries} for part, use in parts.items()}


def _shared(path: str) -> str:
    """What the parts of the data directory are to people."""
    top, _, name = path.partition("/")
    if top == "cache":
        return "mirrors" if name.startswith("git") else "caches"
    return PLACES.get(top, "other")


def groups(measured: Measured, service_id: str) -> dict[str, Use]:
    """What uses the disk, as one service may know it: nothing of another one has a name."""
    found: dict[str, Use] = {}
    for path, use in measured.items():
        _add(found, _group(path, service_id), use)
    return found


def _group(path: str, service_id: str) -> str:
    top, _, name = path.partition("/")
    if top == "services":
        part = name.partition("/")[2]
        return f"{PARTS.get(part, part)} of this service" if name.startswith(f"{service_id}/") else "other services"
    return NAMES[_shared(path)]


def refusal(space: Space, kept: Use, wanted: Use, measured: Measured, service_id: str) -> str:
    """Needed, free, and what to delete."""
    inodes = f" and {wanted.entries} inodes" if space.total_inodes else ""
    free_inodes = f" and {max(0, space.free_inodes - kept.entries)} inodes" if space.total_inodes else ""
    free = sized(max(0, space.free_bytes - kept.bytes))
    return (
        f"cannot build: it needs about {sized(wanted.bytes)}{inodes}, and the disk of the host has {free}{free_inodes} "
        f"free beside the {sized(kept.bytes)} that are kept for the host; {largest(measured, service_id)}"
    )


def full(space: Space, kept: Use) -> str:
    """Why a build was ended, or failed, in its middle."""
    return (
        f"cannot build: the disk of the host is full: {sized(space.free_bytes)} and {space.free_inodes} inodes are free, "
        f"and {sized(kept.bytes)} and {kept.entries} inodes are kept for the host; delete what is not needed there, see "
        "`dployr disk`, or let the build write less"
    )


def too_large(found: Use, quota: Use) -> str:
    """Why a build was ended."""
    if found.bytes > quota.bytes:
        took, most = sized(found.bytes), sized(quota.bytes)
    else:
        took, most = f"{found.entries} files and directories", str(quota.entries)
    return (
        f"cannot build: the build took {took} on the disk, with its caches, and {most} are allowed; let it write less, or "
        "set resources.disk; its caches were deleted"
    )


def largest(measured: Measured, service_id: str) -> str:
    """What to delete, in words."""
    found = sorted(groups(measured, service_id).items(), key=lambda item: -item[1].bytes)
    named = ", ".join(f"{name} ({sized(use.bytes)})" for name, use in found[:SHOWN] if use.bytes)
    words = f"the largest there are {named}; " if named else ""
    return f"{words}delete deployments that are not needed, or give the host a larger disk"


def sized(size: int) -> str:
    return f"{size / GIB:.1f} GiB" if size >= 10 * GIB else f"{size // MIB} MiB"
