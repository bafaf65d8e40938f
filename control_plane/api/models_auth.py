"""What the endpoints of auth take, beside the login itself."""

from typing import ClassVar

import pydantic

from control_plane.api import rules, schemas, shapes
from control_plane.domain import person


class PasswordInput(schemas.Input):
    RULES: ClassVar[rules.Rules] = {"new": rules.said("new", person.password_issue)}
    current: str = pydantic.Field(max_length=1024)
    new: str = pydantic.Field(max_length=1024, description="At least 8 characters")


class SetupInput(schemas.Input):
    RULES: ClassVar[rules.Rules] = {
        "email": rules.said("email", person.email_issue),
        "password": rules.said("password", person.password_issue),
    }
    token: str = pydantic.Field(max_length=256, description="What the control plane printed when it started")
    email: str = pydantic.Field(max_length=320)
    password: str = pydantic.Field(max_length=1024, description="At least 8 characters")


class Tokens(shapes.Shape):
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - the name of a scheme


class Me(shapes.Shape):
    """`permissions` by project id; under the empty id those that concern no project."""

    id: str
    email: str
    operator: bool
    permissions: dict[str, list[str]]
