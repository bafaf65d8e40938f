"""What a project may be called, and who may change which of its members. Pure."""

import re
from collections.abc import Sequence

from control_plane import errors
from control_plane.domain import grammar, permissions, values

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")  # no underscore: so none is taken for an id
MAX_DESCRIPTION = 1000
DEFAULT = "default"  # the one that every installation has, for what names none
OWNER = "owner"


def check(name: str, description: str) -> None:
    """InvalidError with every problem of the two."""
    issues = {"name": name_issue(name), "description": description_issue(description)}
    problems = [{"field": field, "issue": issue} for field, issue in issues.items() if issue]
    if problems:
        raise errors.InvalidError.several("Invalid project", problems)


def name_issue(name: str) -> str:
    return "" if NAME.fullmatch(name) else "must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends"


def description_issue(description: str) -> str:
    is_good = len(description) <= MAX_DESCRIPTION and grammar.is_text(description)
    return "" if is_good else f"must be at most {MAX_DESCRIPTION} printable characters"


def check_membership(
    principal: values.Principal, project_id: str, members: Sequence[values.Member], user_id: str, role: str | None
) -> values.Member | None:
    """The member that `user_id` is now, when `principal` may give it `role` (None takes its membership away).

    Only an owner makes, changes or removes an owner: ForbiddenError. The last owner stays: ConflictError.
    """
    old = next((member for member in members if member.user_id == user_id), None)
    was = old is not None and old.role == OWNER
    if (was or role == OWNER) and role != (old.role if old else None):
        permissions.demand(principal, "owner:write", project_id)
    if was and role != OWNER and sum(member.role == OWNER for member in members) == 1:
        raise errors.ConflictError("cannot take the last owner away: make another member owner first")
    return old
