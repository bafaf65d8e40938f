"""Deployments and their releases. Imported by way of `values`."""

import dataclasses

from control_plane.domain.values.declared import Config
from control_plane.domain.values.plain import Time


@dataclasses.dataclass(frozen=True, slots=True)
class Deployment:
    """`release` is the newest number. The public status is a projection, see domain/release.py.

    `poll`: look at the branch from time to time and deploy what is new. `hook_digest` is that of the token in the
    address that git hosts call, `hook_secret` signs their calls; both empty until a hook was made.
    """

    id: str
    project_id: str
    name: str
    service_id: str
    config: Config
    release: int
    created_at: Time
    updated_at: Time
    generation: int = 1
    poll: bool = True
    hook_digest: str = ""
    hook_secret: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Decided:
    """What the source of a release decided of one field: `origin` is file or detected, `reason` where it stands."""

    field: str
    value: str
    origin: str
    reason: str


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Immutable but for its state, which only moves along the transition table."""

    id: str
    deployment_id: str
    number: int
    config: Config
    commit: str
    state: str
    reason: str
    message: str
    created_at: Time
    changed_at: Time
    build_of: int = 0  # the release whose build this one uses again; 0: it has its own
    archive: str = ""  # of an uploaded source: the SHA-256 of the archive, in hex
    cause: str = ""  # what made it: create, update, redeploy, rollback, env, start, upload, hook, poll, patch
    decided: tuple[Decided, ...] = ()  # what its source decided; empty until it is built
    pinned: bool = False  # kept for good, to go back to


@dataclasses.dataclass(frozen=True, slots=True)
class DeploymentView:
    """A deployment with what its page shows: the projected status, its reason, and where it can be reached."""

    deployment: Deployment
    project: str
    status: str
    status_reason: str
    live_release: int | None
    commit: str
    urls: tuple[str, ...]
    instance_id: str = ""
    pending_changes: bool = False
    warnings: tuple[str, ...] = ()
    decided: tuple[Decided, ...] = ()
