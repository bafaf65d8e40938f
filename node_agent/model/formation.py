"""Which processes a release runs as, and by which commands. Pure."""

import dataclasses

from detection.choices import RELEASE
from node_agent.model import spec

WEB = "web"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One process of a release: its type, a dot, and its number from 1, as in `web.2`. Without a command it cannot start."""

    name: str
    command: str


def formation(release: spec.ReleaseSpec, run_cmd: str, *, static: bool) -> tuple[Member, ...]:
    """Every process that `release` wants; `run_cmd` is what was detected when it names none itself.

    `web` runs `replicas` times, unless the proxy serves the files (`static`) or nothing says how to start it. Each other
    process runs as often as `process_replicas` says, else once; but for the release command, which is none of them. One
    that only that names is of the set too, although nothing says how it is started.
    """
    command = "" if static else release.run_cmd or run_cmd
    counts = dict(release.process_replicas)
    others = {**dict.fromkeys(counts, ""), **dict(release.processes)}
    wanted = [(name, other) for name, other in sorted(others.items()) if name not in {WEB, RELEASE}]
    beside = [member for name, other in wanted for member in _members(name, other, counts.get(name, 1))]
    return (*_members(WEB, command, release.replicas if command else 0), *beside)


def _members(name: str, command: str, count: int) -> list[Member]:
    return [Member(f"{name}.{number}", command) for number in range(1, count + 1)]


def release_command(release: spec.ReleaseSpec) -> str:
    """What runs once after the build, before anything of the release is started; "" for nothing."""
    return dict(release.processes).get(RELEASE, "")


def is_routed(name: str) -> bool:
    """Does the process of that name get requests?"""
    return name.partition(".")[0] == WEB
