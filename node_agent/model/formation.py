"""Which processes a release runs as, and by which commands. Pure."""

import dataclasses

from detection.choices import RELEASE
from node_agent.model import spec

WEB = "web"


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One process of a release: its type, a dot, and its number from 1, as in `web.2`."""

    name: str
    command: str


def formation(release: spec.ReleaseSpec, run_cmd: str, *, static: bool) -> tuple[Member, ...]:
    """Every process that `release` wants; `run_cmd` is what was detected when it names none itself.

    `web` runs `replicas` times, unless the proxy serves the files (`static`) or nothing says how to start it. Each other
    process runs once, but for the release command, which is none of them.
    """
    command = "" if static else release.run_cmd or run_cmd
    web = [Member(f"{WEB}.{number}", command) for number in range(1, release.replicas + 1) if command]
    return (*web, *(Member(f"{name}.1", other) for name, other in release.processes if name not in {WEB, RELEASE}))


def release_command(release: spec.ReleaseSpec) -> str:
    """What runs once after the build, before anything of the release is started; "" for nothing."""
    return dict(release.processes).get(RELEASE, "")


def is_routed(name: str) -> bool:
    """Does the process of that name get requests?"""
    return name.partition(".")[0] == WEB
