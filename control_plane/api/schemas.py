"""What clients send: types and unknown fields are checked here, the rules of each field in domain/.

This module knows Pydantic and nothing of the web framework.
"""

import functools
from typing import Any, ClassVar, Literal, Self

import pydantic

from control_plane import errors
from control_plane.api import rules, wording
from control_plane.domain import moment, paging


class Input(pydantic.BaseModel):
    """A request body: no field that we do not know, no guessing of types."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    RULES: ClassVar[rules.Rules] = {}

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, data: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        """InvalidError with the faults of the form and those that the rules find in the rest."""
        try:
            return handler(data)
        except pydantic.ValidationError as error:
            problems = problems_of(error)
            beside = cls.faults_beside(data, {str(one["field"]) for one in problems}) if isinstance(data, dict) else []
            if not beside:
                raise
            raise errors.InvalidError.several("Invalid request", [*problems, *beside]) from None

    @classmethod
    def faults_beside(cls, data: dict[str, Any], bad: set[str]) -> list[rules.Problem]:
        """What is wrong with the fields of `data` that can be read; those of `bad` cannot."""
        unread = {field.partition(".")[0] for field in bad}
        return rules.found(cls.RULES, {name: value for name, value in data.items() if name not in unread})


class Query(pydantic.BaseModel):
    """Query parameters: text, so types are converted."""

    model_config = pydantic.ConfigDict(extra="forbid")

    @classmethod
    def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
        """Kept, as the OpenAPI library asks for it with every request: a third of what a small request costs."""
        return super().model_json_schema(*args, **options) if args or options else _schema_of(cls)


@functools.cache
def _schema_of(model: type[pydantic.BaseModel]) -> dict[str, Any]:
    return pydantic.BaseModel.model_json_schema.__func__(model)  # type: ignore[attr-defined, no-any-return]


class ById(Query):
    id: str = pydantic.Field(description="The id, or the name")


class ReleasePath(ById):
    n: int = pydantic.Field(ge=1, le=2**31 - 1, description="The number of the release")


class Page(Query):
    limit: int = pydantic.Field(paging.DEFAULT_LIMIT, ge=1, le=paging.MAX_LIMIT)
    cursor: str | None = pydantic.Field(None, max_length=512, description="next_cursor of the page before")


class DeploymentsQuery(Page):
    project: str | None = None
    name: str | None = None
    status: str | None = None


class ServicesQuery(Page):
    project: str | None = None
    name: str | None = None
    status: str | None = None
    instance: str | None = pydantic.Field(None, description="Id or name of an instance")


class InstancesQuery(Page):
    name: str | None = None
    status: str | None = None


class MetricsQuery(Query):
    """What time the series are of."""

    begin: str | None = pydantic.Field(None, alias="from", max_length=64, description="RFC 3339; an hour before `to`")
    end: str | None = pydantic.Field(None, alias="to", max_length=64, description="RFC 3339; without it now")
    step: int | None = pydantic.Field(None, ge=1, le=86400, description="Seconds; as fine as kept without it")


class DifferencePath(ById):
    a: int = pydantic.Field(ge=1, le=2**31 - 1, description="The number of a release")
    b: int = pydantic.Field(ge=1, le=2**31 - 1, description="The number of the other one")


class BuildLogsQuery(Query):
    """Which lines of a log."""

    tail: int = pydantic.Field(100, ge=0, le=5000, description="The last so many; with after_seq the first so many")
    follow: bool = False
    after_seq: int = pydantic.Field(0, ge=0, le=2**63 - 1, description="Only lines behind this one")
    cursor: str | None = pydantic.Field(None, pattern=r"^[0-9]{1,18}$", description="next_cursor of the page before")
    since: str | None = pydantic.Field(None, max_length=64, description="From this time on, RFC 3339")
    until: str | None = pydantic.Field(None, max_length=64, description="Before this time, RFC 3339")
    grep: str = pydantic.Field("", max_length=1000, description="Only lines that hold this text")
    stream: Literal["", "stdout", "stderr"] = ""
    process: str = pydantic.Field("", max_length=64, description="Such as web.1")
    partial: bool = pydantic.Field(False, description="When the instance is away: what can be had without it")

    def options(self) -> dict[str, Any]:
        """The filters as services take them."""
        return {
            "tail": self.tail,
            "after_seq": int(self.cursor) if self.cursor else self.after_seq,
            "since": _seconds(self.since, "since"),
            "until": _seconds(self.until, "until"),
            "grep": self.grep,
            "stream": self.stream,
            "process": self.process,
            "partial": self.partial,
        }


class LogsQuery(BuildLogsQuery):
    release: int = pydantic.Field(0, ge=0, le=2**31 - 1, description="Only lines of this release")
    source: Literal["", "run", "build"] = ""

    def options(self) -> dict[str, Any]:
        return {**super().options(), "release": self.release, "source": self.source}


def _seconds(text: str | None, field: str) -> float:
    return 0.0 if text is None else max(0.0, moment.parsed(text, field).timestamp())


class LoginInput(Input):
    email: str = pydantic.Field(max_length=320)
    password: str = pydantic.Field(max_length=1024)


class RefreshInput(Input):
    refresh_token: str = pydantic.Field(max_length=4096)


def optional() -> Any:
    """A field that may be left out and must not be null: `given` says which were there."""
    return pydantic.Field(default=None, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


def problems_of(error: pydantic.ValidationError) -> list[rules.Problem]:
    """Pydantic's findings as problems of fields."""
    return [
        {"field": (".".join(str(part)[:128] for part in found["loc"]) or "body")[:128], **wording.told(found)}
        for found in error.errors(include_url=False)
    ]
