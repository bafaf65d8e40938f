"""Who there is, in which project, and who calls. Imported by way of `values`."""

import dataclasses
from collections.abc import Mapping

from control_plane.domain.values.plain import Time


@dataclasses.dataclass(frozen=True, slots=True)
class Project:
    id: str
    name: str
    description: str
    created_at: Time
    generation: int = 1
    updated_at: Time | None = None
    deleting: bool = False  # it goes with its last deployment, and takes nothing new


@dataclasses.dataclass(frozen=True, slots=True)
class User:
    """`operator` is the role over the whole installation. Access tokens from before `valid_from` are refused."""

    id: str
    email: str
    password_hash: str = dataclasses.field(repr=False)
    operator: bool
    created_at: Time
    disabled: bool = False
    valid_from: float = 0.0
    generation: int = 1
    updated_at: Time | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """What `user_id` is in a project: viewer, developer, admin or owner."""

    project_id: str
    user_id: str
    role: str
    created_at: Time


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """One login: the refresh tokens that followed each other. `jti` is that of the newest; an older one revokes all."""

    id: str
    user_id: str
    jti: str
    created_at: Time
    expires_at: Time
    revoked: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """A personal access token, known by its digest. Empty `scopes`: all that its user may; `project_id`: nowhere else."""

    id: str
    user_id: str
    name: str
    digest: str
    scopes: tuple[str, ...]
    project_id: str
    expires_at: Time | None
    last_used_at: Time | None
    created_at: Time


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, and from where: set once per request by the authentication hook.

    `roles` says what the caller is in each project. A personal token narrows: `scopes` (None: no narrowing), `only` (the
    id of its one project) and `until` (when it ends). `family` is the login that an access token belongs to.
    """

    user_id: str
    email: str
    operator: bool = False
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scopes: frozenset[str] | None = None
    only: str = ""
    until: Time | None = None
    family: str = ""
    address: str = ""
    request_id: str = ""
