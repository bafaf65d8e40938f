"""Which permissions exist, who has them, and the one way to ask."""

from control_plane import errors
from control_plane.domain import values

ALL = frozenset(
    {
        "deployment:read",
        "deployment:write",
        "service:read",
        "service:write",
        "instance:read",
        "instance:write",
        "route:read",
        "route:write",
        "log:read",
    }
)
ROLES: dict[str, frozenset[str]] = {"operator": ALL, "none": frozenset()}


def of_user(user: values.User) -> frozenset[str]:
    """What `user` may do; nothing when the account is disabled."""
    return ROLES["operator" if user.operator and not user.disabled else "none"]


def demand(principal: values.Principal, permission: str) -> None:
    """Return when `principal` has `permission`, else raise ForbiddenError. An unknown permission is our own defect."""
    if permission not in ALL:
        raise ValueError(f"cannot demand {permission!r}: no such permission")
    if permission not in principal.permissions:
        raise errors.ForbiddenError(
            f"cannot do this as {principal.email}: {permission} is missing; ask an operator", {"permission": permission}
        )
