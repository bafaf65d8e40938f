"""What `/v1/tokens` takes and gives."""

import datetime
from typing import Annotated, Any, ClassVar

import pydantic

from control_plane import clock
from control_plane.api import rules, schemas, shapes
from control_plane.domain import permissions, values
from control_plane.services import tokens


class TokenInput(schemas.Input):
    """`expires_in` in seconds, or `expires_at`; neither: it does not expire."""

    RULES: ClassVar[rules.Rules] = {
        "name": rules.said("name", tokens.name_issue),
        "scopes": permissions.scope_problems,
        "expires_in": rules.said("expires_in", tokens.life_issue),
    }
    name: str
    scopes: list[str] = pydantic.Field([], max_length=100, description="Permissions; empty: all that you have")
    project: str | None = pydantic.Field(None, description="Id or name of the only project that it works in")
    expires_in: int | None = pydantic.Field(None, description="Seconds")
    expires_at: Annotated[datetime.datetime | None, pydantic.Strict(strict=False)] = None

    @pydantic.field_validator("expires_at", mode="before")
    @classmethod
    def _is_text(cls, value: object) -> object:
        if value is not None and not isinstance(value, str):
            raise ValueError("must be a time such as 2026-12-31T00:00:00Z")
        return value

    def new(self) -> tokens.NewToken:
        return tokens.NewToken(self.name, tuple(self.scopes), self.project, self.expires_in, self.expires_at)


class TokenShape(shapes.Shape):
    """`project_id` is null for a token of all projects, `scopes` are empty for all that its user may."""

    id: str
    name: str
    scopes: list[str]
    project_id: str | None
    expires_at: str | None
    last_used_at: str | None
    created_at: str

    @classmethod
    def of(cls, token: values.Token) -> "TokenShape":
        return cls(**_fields(token))


class NewTokenShape(TokenShape):
    """`token` is the secret itself. It is shown this once."""

    token: str

    @classmethod
    def made(cls, token: values.Token, secret: str) -> "NewTokenShape":
        return cls(**_fields(token), token=secret)


class TokenList(shapes.Shape):
    data: list[TokenShape]
    next_cursor: str | None


def _fields(token: values.Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "project_id": token.project_id or None,
        "expires_at": clock.rfc3339(token.expires_at) if token.expires_at else None,
        "last_used_at": clock.rfc3339(token.last_used_at) if token.last_used_at else None,
        "created_at": clock.rfc3339(token.created_at),
    }
