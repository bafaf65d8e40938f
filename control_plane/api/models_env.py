"""What goes in and out of `/v1/services/:id/env`. The value of a secret goes in alone."""

from typing import Annotated, Any, Literal

import pydantic

from control_plane import clock
from control_plane.api import flat, forms, rules, schemas, shapes
from control_plane.domain import grammar, paging, values, variables

VALUE = {"anyOf": [*forms.SCALAR["anyOf"], {"type": "null"}]}
Value = Annotated[str | None, pydantic.BeforeValidator(flat.text_of), pydantic.WithJsonSchema(VALUE)]


class Variable(schemas.Input):
    """Without `secret` it stays what it is. Numbers and booleans become strings; null keeps the value of a secret."""

    key: str
    value: Value = None
    secret: bool | None = pydantic.Field(None, description="Write-only; false with a new value makes it readable")

    def wanted(self) -> variables.Wanted:
        return variables.Wanted(self.key, self.value, self.secret)


RULES: rules.Rules = {
    "key": rules.said("key", grammar.env_key_issue),
    "value": rules.said("value", lambda value: grammar.env_value_issue(flat.text_of(value))),
}


class VariableInput(Variable):
    """One variable, as the whole body."""

    RULES = RULES


class VariablesInput(schemas.Input):
    """All variables. The list may be one that was read: secrets in it keep their values."""

    variables: list[Variable] = pydantic.Field(max_length=10_000)

    @classmethod
    def faults_beside(cls, data: dict[str, Any], bad: set[str]) -> list[rules.Problem]:
        if "variables" in bad or not isinstance(data.get("variables"), list):
            return []
        found = []
        for index, one in enumerate(data["variables"]):
            place = f"variables.{index}"
            named = one if isinstance(one, dict) else {}
            read = {name: value for name, value in named.items() if f"{place}.{name}" not in bad}
            found += [{**fault, "field": f"{place}.{fault['field']}"} for fault in rules.found(RULES, read)]
        return found


class ApplyQuery(schemas.Query):
    apply: Literal["now", "next"] = pydantic.Field(
        "now", description="`now` makes a release that uses the newest build again, `next` waits for the next release"
    )
    dry_run: Any = pydantic.Field(None, json_schema_extra={"type": "boolean", "default": False})


class VariablePath(schemas.ById):
    key: str


class VariablesQuery(schemas.Page):
    limit: int = pydantic.Field(paging.MAX_LIMIT, ge=1, le=paging.MAX_LIMIT)


class EnvHistoryQuery(schemas.Page):
    key: str | None = None


class VariableShape(shapes.Shape):
    """`value` is null for a secret."""

    key: str
    value: str | None
    secret: bool

    @classmethod
    def of(cls, variable: values.Variable) -> "VariableShape":
        return cls(key=variable.key, value=None if variable.secret else variable.value, secret=variable.secret)


class VariableList(shapes.Shape):
    data: list[VariableShape]
    next_cursor: str | None


class EnvChangeShape(shapes.Shape):
    """`release` is the first that has it; `actor` the id of a user, or `system`."""

    at: str
    actor: str
    key: str
    action: str
    secret: bool
    release: int

    @classmethod
    def of(cls, change: values.EnvChange) -> "EnvChangeShape":
        return cls(
            at=clock.rfc3339(change.at),
            actor=change.actor,
            key=change.key,
            action=change.action,
            secret=change.secret,
            release=change.release,
        )


class EnvHistory(shapes.Shape):
    data: list[EnvChangeShape]
    next_cursor: str | None
