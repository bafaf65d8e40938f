"""What `/v1/users` takes and gives."""

from typing import Any

import pydantic

from control_plane import clock
from control_plane.api import rules, schemas, shapes
from control_plane.domain import person, values
from control_plane.services import users


class UsersQuery(schemas.Page):
    email: str | None = pydantic.Field(None, max_length=320)


RULES: rules.Rules = {
    "email": rules.said("email", person.email_issue),
    "password": rules.said("password", person.password_issue),
}


class UserInput(schemas.Input):
    RULES = RULES
    email: str = pydantic.Field(max_length=320)
    password: str = pydantic.Field(max_length=1024, description="At least 8 characters")
    operator: bool = False

    def new(self) -> users.NewUser:
        return users.NewUser(self.email, self.password, self.operator)


def _left_out(schema: dict[str, Any]) -> None:
    schema.pop("default")


def _optional(**more: Any) -> Any:
    """A field that may be left out and must not be null."""
    return pydantic.Field(default=None, json_schema_extra=_left_out, **more)


class UserUpdate(schemas.Input):
    """Only the fields given change."""

    RULES = RULES
    email: str = _optional(max_length=320)
    operator: bool = _optional()
    disabled: bool = _optional(description="Whoever is disabled cannot log in, and no token of theirs works")
    password: str = _optional(max_length=1024, description="At least 8 characters; ends all logins of the user")

    def changes(self) -> users.UserChanges:
        return users.UserChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class UserShape(shapes.Shape):
    id: str
    email: str
    operator: bool
    disabled: bool
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, user: values.User) -> "UserShape":
        return cls(
            id=user.id,
            email=user.email,
            operator=user.operator,
            disabled=user.disabled,
            created_at=clock.rfc3339(user.created_at),
            updated_at=clock.rfc3339(user.updated_at or user.created_at),
        )


class UserList(shapes.Shape):
    data: list[UserShape]
    next_cursor: str | None
