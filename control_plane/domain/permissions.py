"""Which permissions exist, which roles have them, and the one way to ask. Pure.

A project's objects are seen by its members alone: for everybody else they do not exist. What a role lacks is refused.
Operators act as owners everywhere; what concerns the whole installation is theirs alone.
"""

from collections.abc import Iterable
from typing import Any

from control_plane import errors
from control_plane.domain import values

VIEWER = frozenset(
    {
        "project:read",
        "member:read",
        "deployment:read",
        "service:read",
        "route:read",
        "log:read",
        "env:read",
        "webhook:read",
        "event:read",
    }
)
DEVELOPER = VIEWER | {
    *("deployment:write", "service:write", "service:run", "env:write", "route:write"),
    *("volume:read", "volume:write"),
}
ADMIN = DEVELOPER | {"project:write", "member:write", "webhook:write", "audit:read"}
OWNER = ADMIN | {"project:delete", "owner:write"}
ROLES: dict[str, frozenset[str]] = {"viewer": VIEWER, "developer": DEVELOPER, "admin": ADMIN, "owner": OWNER}
# What every user has, and what operators alone have, whatever the project.
ACCOUNT = frozenset({"project:create", "token:read", "token:write", "instance:read"})
INSTALLATION = frozenset({"instance:write", "instance:metrics", "user:read", "user:write"})
ALL = OWNER | ACCOUNT | INSTALLATION


def can_see(principal: values.Principal, project_id: str) -> bool:
    """Whether the objects of that project exist for `principal`. Those of no project exist for operators."""
    if principal.only and project_id != principal.only:
        return False
    return principal.operator or project_id in principal.roles


def may(principal: values.Principal, permission: str, project_id: str = "") -> bool:
    """Whether `principal` has `permission` (in the project, for one of a project's). An unknown one is our own defect."""
    if permission not in ALL:
        raise ValueError(f"cannot ask for {permission!r}: no such permission")
    if principal.scopes is not None and permission not in principal.scopes:
        return False
    if permission in ACCOUNT:
        return not principal.only or permission == "instance:read"
    if permission in INSTALLATION:
        return principal.operator and not principal.only
    if not can_see(principal, project_id):
        return False
    return principal.operator or permission in ROLES.get(principal.roles.get(project_id, ""), frozenset())


def demand(principal: values.Principal, permission: str, project_id: str = "") -> None:
    """Return when `may`, else raise ForbiddenError. Asked about objects that the principal can see."""
    if not may(principal, permission, project_id):
        raise errors.ForbiddenError(
            f"cannot do this as {principal.email}: {permission} is missing; ask an admin of the project or an operator",
            {"permission": permission},
        )


def visible(principal: values.Principal, permission: str) -> frozenset[str] | None:
    """The projects in which `principal` has `permission`, for lists; None is all of them.

    Raises ForbiddenError when a token's scope leaves the permission out.
    """
    if principal.scopes is not None and permission not in principal.scopes:
        demand(principal, permission, principal.only)
    if principal.only:
        return frozenset({principal.only} if may(principal, permission, principal.only) else ())
    if principal.operator:
        return None
    return frozenset(project for project in principal.roles if may(principal, permission, project))


def checked_role(role: str) -> str:
    if role not in ROLES:
        raise errors.InvalidError.field(f"cannot use role {role!r}", "role", "unknown role", supported=list(ROLES))
    return role


def scope_problems(scopes: Iterable[str]) -> list[dict[str, Any]]:
    """What is wrong with the scopes of a token, as problems of the field."""
    unknown = sorted(set(scopes) - ALL)
    issue = f"unknown permission {unknown[0][:100]!r}" if unknown else ""
    return [{"field": "scopes", "issue": issue, "supported": sorted(ALL)}] if unknown else []


def held(principal: values.Principal) -> dict[str, list[str]]:
    """What the principal may do, for its own eyes: by project id, and under "" what has no project."""
    projects = {*principal.roles, principal.only} - {""}
    found = {project: sorted(one for one in OWNER if may(principal, one, project)) for project in projects}
    found[""] = sorted(one for one in ACCOUNT | INSTALLATION if may(principal, one))
    return found
