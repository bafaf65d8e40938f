"""Bodies of `/v1/projects` and of their members."""

from typing import Any, Literal

import pydantic

from control_plane import clock
from control_plane.api import rules, schemas, shapes
from control_plane.domain import project, values
from control_plane.services import members

Role = Literal["viewer", "developer", "admin", "owner"]


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


# A field that may be left out and must not be null.
OPTIONAL: Any = pydantic.Field(default=None, json_schema_extra=_without_default)


class ProjectsQuery(schemas.Page):
    name: str | None = None


class ProjectDeleteQuery(schemas.Query):
    force: bool = pydantic.Field(default=False, description="Delete all deployments in it too")
    dry_run: bool = pydantic.Field(
        default=False, description="Check and authorise only, and answer with what would change. Nothing is written."
    )


RULES: rules.Rules = {
    "name": rules.said("name", project.name_issue),
    "description": rules.said("description", project.description_issue),
}


class ProjectInput(schemas.Input):
    RULES = RULES
    name: str
    description: str = ""


class ProjectUpdate(schemas.Input):
    """What is left out stays as it is."""

    RULES = RULES
    name: str = OPTIONAL
    description: str = OPTIONAL


class MemberPath(schemas.ById):
    user: str = pydantic.Field(description="The id, or the email")


class MemberInput(schemas.Input):
    role: Role


class ProjectShape(shapes.Shape):
    """`status` is active, or deleting until the last deployment in it is gone."""

    id: str
    name: str
    description: str
    status: Literal["active", "deleting"]
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, project: values.Project) -> "ProjectShape":
        return cls(
            id=project.id,
            name=project.name,
            description=project.description,
            status="deleting" if project.deleting else "active",
            created_at=clock.rfc3339(project.created_at),
            updated_at=clock.rfc3339(project.updated_at or project.created_at),
        )


class ProjectList(shapes.Shape):
    data: list[ProjectShape]
    next_cursor: str | None


class MemberShape(shapes.Shape):
    user_id: str
    email: str
    role: str
    created_at: str

    @classmethod
    def of(cls, member: members.View) -> "MemberShape":
        return cls(
            user_id=member.id,
            email=member.email,
            role=member.role,
            created_at=clock.rfc3339(member.created_at),
        )


class MemberList(shapes.Shape):
    data: list[MemberShape]
    next_cursor: str | None
