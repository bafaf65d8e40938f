"""What clients send: types and unknown fields are checked here, the rules of each field in domain/.

The nested blueprint form (`runtime: {type, version}`, `remote: {url, branch, commit_hash}`, `env_vars`) becomes the flat
one before anything else looks at it. This module knows Pydantic and nothing of the web framework.
"""

import functools
from typing import Annotated, Any

import pydantic

from control_plane import errors
from control_plane.domain import deployment, health, paging

RUNTIME_FORM = {"type": "runtime", "version": "version"}
REMOTE_FORM = {"url": "remote", "branch": "branch", "commit_hash": "commit"}
NESTED_RUNTIME = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {"type": {"type": "string"}, "version": {"type": "string"}},
            "additionalProperties": False,
        },
    ]
}
NESTED_REMOTE = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {key: {"type": "string"} for key in REMOTE_FORM},
            "additionalProperties": False,
        },
    ]
}

SCALAR = {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}
ENV = {"type": "object", "additionalProperties": SCALAR, "description": "Numbers and booleans become strings"}
ENV_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [*SCALAR["anyOf"], {"type": "null"}]},
    "description": "Merged by key; null deletes",
}
DURATION = {"anyOf": [{"type": "string"}, {"type": "number"}], "description": 'Seconds, or text such as "30s", "500ms"'}
HEALTH_CHECK = {
    "type": "object",
    "properties": {
        "kind": {"enum": list(health.KINDS)},
        "path": {"type": "string"},
        "interval": DURATION,
        "timeout": DURATION,
        "retries": {"type": "integer"},
        "start_period": DURATION,
    },
    "additionalProperties": False,
}


class Input(pydantic.BaseModel):
    """A request body: no field that we do not know, no guessing of types."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


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


class LogsQuery(Query):
    tail: int = pydantic.Field(100, ge=0, le=5000)
    follow: bool = False
    after_seq: int = pydantic.Field(0, ge=0, le=2**63 - 1)


class LoginInput(Input):
    email: str = pydantic.Field(max_length=320)
    password: str = pydantic.Field(max_length=1024)


class RefreshInput(Input):
    refresh_token: str = pydantic.Field(max_length=4096)


def _optional() -> Any:
    """A field that may be left out and must not be null: `given` says which were there."""
    return pydantic.Field(default=None, json_schema_extra=_without_default)


def _without_default(schema: dict[str, Any]) -> None:
    schema.pop("default")


class _Declared(Input):
    """The fields that create and update share."""

    project: str = _optional()
    source: str = _optional()
    remote: Annotated[str, pydantic.WithJsonSchema(NESTED_REMOTE)] = _optional()
    branch: str = _optional()
    commit: str = _optional()
    runtime: Annotated[str, pydantic.WithJsonSchema(NESTED_RUNTIME)] = _optional()
    version: str = _optional()
    build_cmd: str = _optional()
    run_cmd: str = _optional()
    working_dir: str = _optional()
    static_dir: str = _optional()
    port: int = _optional()
    health_check: Annotated[dict[str, Any], pydantic.WithJsonSchema(HEALTH_CHECK)] = _optional()
    description: str = _optional()

    @pydantic.model_validator(mode="before")
    @classmethod
    def _flat(cls, data: Any) -> Any:
        return flattened(data) if isinstance(data, dict) else data

    def given(self) -> dict[str, Any]:
        """The fields that were given, as the domain takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def _with_env_vars(schema: dict[str, Any]) -> None:
    schema["properties"]["env_vars"] = {**schema["properties"]["env"], "description": "The blueprint form of env"}


class DeploymentCreate(_Declared):
    model_config = pydantic.ConfigDict(json_schema_extra=_with_env_vars)

    name: str
    env: Annotated[dict[str, str], pydantic.WithJsonSchema(ENV)] = _optional()

    def fields(self) -> deployment.DeploymentFields:
        return deployment.DeploymentFields(**self.given())


class DeploymentUpdate(_Declared):
    model_config = pydantic.ConfigDict(json_schema_extra=_with_env_vars)

    name: str = _optional()
    env: Annotated[dict[str, str | None], pydantic.WithJsonSchema(ENV_CHANGES)] = _optional()

    def changes(self) -> deployment.DeploymentChanges:
        return deployment.DeploymentChanges(**self.given())


def text_of(value: Any) -> Any:
    """An environment variable's value: numbers and booleans become text as JSON writes them; the rest stays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else value


def flattened(data: dict[str, Any]) -> dict[str, Any]:
    """The flat form of a deployment's fields. Raises InvalidError for a field given in both forms, and for null."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            raise _refused(key, "must not be null; leave it out")
        if isinstance(value, dict) and key in {"runtime", "remote"}:
            form = RUNTIME_FORM if key == "runtime" else REMOTE_FORM
            _put_nested(flat, key, value, form)
        elif key in {"env", "env_vars"} and isinstance(value, dict):
            _put(flat, "env", {name: text_of(item) for name, item in value.items()})
        else:
            _put(flat, "env" if key == "env_vars" else key, value)
    return flat


def _put_nested(flat: dict[str, Any], name: str, nested: dict[str, Any], form: dict[str, str]) -> None:
    for key, value in nested.items():
        if key not in form:
            raise _refused(f"{name}.{key}", "unknown field")
        if not isinstance(value, str):
            raise _refused(f"{name}.{key}", "must be a string")
        _put(flat, form[key], value)


def _put(flat: dict[str, Any], key: str, value: Any) -> None:
    if key in flat:
        raise _refused(key, "given in both the flat and the nested form")
    flat[key] = value


def _refused(field: str, issue: str) -> errors.InvalidError:
    return errors.InvalidError.field(f"Invalid deployment configuration: {field}: {issue}", field, issue)
