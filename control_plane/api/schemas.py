"""What clients send: types and unknown fields are checked here, the rules of each field in domain/.

The nested blueprint form (`runtime: {type, version}`, `remote: {url, branch, commit_hash}`, `env_vars`) becomes the flat
one before anything else looks at it. This module knows Pydantic and nothing of the web framework.
"""

import functools
from typing import Annotated, Any, ClassVar, Literal, Self

import pydantic

from control_plane import errors
from control_plane.api import rules, wording
from control_plane.domain import abilities, cron, deployment, health, moment, paging, strategy, volumes

RUNTIME_FORM = {"type": "runtime", "version": "version"}
REMOTE_FORM = {"url": "remote", "branch": "branch", "commit_hash": "commit"}
FLAT = {"env_vars": "env"}
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
        "command": {"type": "string"},
        "interval": DURATION,
        "timeout": DURATION,
        "retries": {"type": "integer"},
        "start_period": DURATION,
    },
    "additionalProperties": False,
}

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
TEXT_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    "description": "Merged by key; null deletes",
}
SIZE = {
    "anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}],
    "description": 'Bytes, or text such as "512M"; null is no limit',
}
RESOURCES = {
    "type": "object",
    "properties": {
        "memory": SIZE,
        "cpu": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        "pids": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "disk": SIZE,
        "strict": {"type": "boolean", "description": "Refuse an instance that cannot enforce them"},
    },
    "additionalProperties": False,
    "description": "Limits of each process",
}
STRATEGY = {
    "anyOf": [
        {"enum": list(strategy.KINDS)},
        {
            "type": "object",
            "properties": {
                "kind": {"enum": list(strategy.KINDS)},
                "weight": {"type": "integer"},
                "steps": {"type": "array", "items": {"type": "integer"}},
                "interval": DURATION,
            },
            "additionalProperties": False,
        },
    ]
}
PROCESSES_WORDS = (
    "Commands beside web (which is run_cmd) by name, each a process; release is none: it runs once, after the build and "
    "before the release starts, and fails the release when it fails"
)
PROCESS_FORM = {
    "type": "object",
    "properties": {"command": {"type": "string"}, "replicas": {"type": "integer"}},
    "additionalProperties": False,
    "description": "Its command, and how often it runs: the same as in process_replicas",
}
PROCESSES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, PROCESS_FORM]},
    "description": PROCESSES_WORDS,
}
PROCESS_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "string"}, PROCESS_FORM, {"type": "null"}]},
    "description": "Merged by key; null deletes a process with its replicas",
}
REPLICAS_WORDS = "How often a process beside web runs, 0 to 100, by name; one that is not named runs once"
PROCESS_REPLICAS = {"type": "object", "additionalProperties": {"type": "integer"}, "description": REPLICAS_WORDS}
REPLICAS_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "description": f"{REPLICAS_WORDS}. Merged by key; null deletes",
}
CRON_ENTRY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "schedule": {
            "type": "string",
            "description": "Minute, hour, day of the month, month, day of the week, in UTC; or @hourly, @daily, @weekly, @monthly, @yearly",
        },
        "command": {"type": "string"},
        "overlap": {
            "enum": list(cron.OVERLAPS),
            "description": "While its last run is under way: skip this one, allow both (ten at most), or replace that one",
        },
        "timeout": {**DURATION, "description": 'Seconds, or text such as "10m"; an hour unless given'},
    },
    "additionalProperties": False,
}
CRON = {
    "type": "object",
    "additionalProperties": {**CRON_ENTRY, "required": list(cron.REQUIRED)},
    "description": "Commands that run when their schedule says, in the environment of the live release",
}
CRON_CHANGES = {
    "type": "object",
    "additionalProperties": {"anyOf": [CRON_ENTRY, {"type": "null"}]},
    "description": "Merged by key, and each entry by its keys; null deletes",
}
PORT_MODE = {
    "enum": list(abilities.PORT_MODES),
    "description": "env: the app listens on PORT; fixed: always on the declared port, so that releases take turns",
}
AUTO_ROLLBACK = {
    "type": "boolean",
    "description": "Go back to the last good release when a new one keeps crashing within ten minutes after it went live",
}
VOLUMES = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "mount": {"type": "string"}},
        "required": ["name", "mount"],
        "additionalProperties": False,
    },
    "maxItems": volumes.MAX_VOLUMES,
    "description": "Directories that outlive releases, at `mount` below the working directory; replaces all of them",
}
PLACEMENT = {
    "type": "object",
    "properties": {"labels": TEXTS},
    "additionalProperties": False,
    "description": "Labels that its instance must have",
}


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


class _Declared(Input):
    """The fields that create and update share."""

    IS_NEW: ClassVar[bool] = False

    project: str = optional()
    source: str = optional()
    remote: Annotated[str, pydantic.WithJsonSchema(NESTED_REMOTE)] = optional()
    branch: str = optional()
    commit: str = optional()
    image: str = optional()
    runtime: Annotated[str, pydantic.WithJsonSchema(NESTED_RUNTIME)] = optional()
    version: str = optional()
    build_cmd: str = optional()
    run_cmd: str = optional()
    working_dir: str = optional()
    static_dir: str = optional()
    port: int = optional()
    health_check: Annotated[dict[str, Any], pydantic.WithJsonSchema(HEALTH_CHECK)] = optional()
    description: str = optional()
    git_token: Annotated[str, pydantic.WithJsonSchema({"type": "string", "writeOnly": True})] = optional()
    git_host_key: str = optional()
    submodules: bool = optional()
    replicas: int = optional()
    resources: Annotated[dict[str, Any], pydantic.WithJsonSchema(RESOURCES)] = optional()
    strategy: Annotated[str | dict[str, Any], pydantic.WithJsonSchema(STRATEGY)] = optional()
    port_mode: Annotated[str, pydantic.WithJsonSchema(PORT_MODE)] = optional()
    auto_rollback: Annotated[bool, pydantic.WithJsonSchema(AUTO_ROLLBACK)] = optional()
    volumes: Annotated[list[dict[str, Any]], pydantic.WithJsonSchema(VOLUMES)] = optional()
    placement: Annotated[dict[str, str], pydantic.WithJsonSchema(PLACEMENT)] = optional()
    instance: str = optional()
    poll: bool = optional()

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, data: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        """InvalidError with the faults of the form and those of the rules, as far as the rest can be judged."""
        if not isinstance(data, dict):
            return handler(data)
        flat, problems = flattened(data)
        try:
            made = handler(flat)
        except pydantic.ValidationError as error:
            problems += problems_of(error)
        if not problems:
            return made
        bad = {str(problem["field"]).partition(".")[0] for problem in problems}
        rest = {name: value for name, value in flat.items() if name in cls.model_fields and name not in bad}
        raise deployment.refused([*problems, *deployment.faults_beside(rest, bad, is_new=cls.IS_NEW)])

    def given(self) -> dict[str, Any]:
        """The fields that were given, as the domain takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


def _with_env_vars(schema: dict[str, Any]) -> None:
    schema["properties"]["env_vars"] = {**schema["properties"]["env"], "description": "The blueprint form of env"}


class DeploymentCreate(_Declared):
    IS_NEW = True
    model_config = pydantic.ConfigDict(json_schema_extra=_with_env_vars)

    name: str
    env: Annotated[dict[str, str], pydantic.WithJsonSchema(ENV)] = optional()
    secrets: Annotated[dict[str, str], pydantic.WithJsonSchema({**ENV, "writeOnly": True})] = optional()
    processes: Annotated[dict[str, str], pydantic.WithJsonSchema(PROCESSES)] = optional()
    process_replicas: Annotated[dict[str, int], pydantic.WithJsonSchema(PROCESS_REPLICAS)] = optional()
    cron: Annotated[dict[str, dict[str, Any]], pydantic.WithJsonSchema(CRON)] = optional()
    labels: Annotated[dict[str, str], pydantic.WithJsonSchema(TEXTS)] = optional()

    def fields(self) -> deployment.DeploymentFields:
        return deployment.DeploymentFields(**self.given(), given=deployment.asked_for(self.given()))


class DeploymentUpdate(_Declared):
    model_config = pydantic.ConfigDict(json_schema_extra=_with_env_vars)

    name: str = optional()
    env: Annotated[dict[str, str | None], pydantic.WithJsonSchema(ENV_CHANGES)] = optional()
    secrets: Annotated[dict[str, str | None], pydantic.WithJsonSchema({**ENV_CHANGES, "writeOnly": True})] = optional()
    processes: Annotated[dict[str, str | None], pydantic.WithJsonSchema(PROCESS_CHANGES)] = optional()
    process_replicas: Annotated[dict[str, int | None], pydantic.WithJsonSchema(REPLICAS_CHANGES)] = optional()
    cron: Annotated[dict[str, dict[str, Any] | None], pydantic.WithJsonSchema(CRON_CHANGES)] = optional()
    labels: Annotated[dict[str, str | None], pydantic.WithJsonSchema(TEXT_CHANGES)] = optional()

    def changes(self) -> deployment.DeploymentChanges:
        return deployment.DeploymentChanges(**self.given())


def text_of(value: Any) -> Any:
    """An environment variable's value: numbers and booleans become text as JSON writes them; the rest stays."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, int | float) else value


def problems_of(error: pydantic.ValidationError) -> list[deployment.Problem]:
    """Pydantic's findings as problems of fields."""
    return [
        {"field": (".".join(str(part)[:128] for part in found["loc"]) or "body")[:128], **wording.told(found)}
        for found in error.errors(include_url=False)
    ]


def flattened(data: dict[str, Any]) -> tuple[dict[str, Any], list[deployment.Problem]]:
    """The flat form of a deployment's fields, and what is wrong: fields given in both forms, and null."""
    flat: dict[str, Any] = {}
    problems: list[deployment.Problem] = []
    for key, value in data.items():
        if value is None:
            problems.append(_problem(key, "must not be null; leave it out"))
        elif isinstance(value, dict) and key in {"runtime", "remote"}:
            problems += _put_nested(flat, key, value, RUNTIME_FORM if key == "runtime" else REMOTE_FORM)
        elif isinstance(value, dict) and key == "placement":
            problems += [_problem(f"placement.{name}", "unknown field") for name in value if name != "labels"]
            problems += _put(flat, key, value.get("labels", {}))
        elif isinstance(value, dict) and key == "processes":
            problems += _put_processes(flat, value)
        elif key in {"env", "env_vars", "secrets"} and isinstance(value, dict):
            problems += _put(flat, FLAT.get(key, key), {name: text_of(item) for name, item in value.items()})
        else:
            problems += _put(flat, FLAT.get(key, key), value)
    return flat, problems


def _put_nested(
    flat: dict[str, Any], name: str, nested: dict[str, Any], form: dict[str, str]
) -> list[deployment.Problem]:
    problems: list[deployment.Problem] = []
    for key, value in nested.items():
        if key not in form:
            problems.append(_problem(f"{name}.{key}", "unknown field"))
        elif not isinstance(value, str):
            problems.append(_problem(f"{name}.{key}", "must be a string"))
        else:
            problems += _put(flat, form[key], value)
    return problems


def _put_processes(flat: dict[str, Any], processes: dict[str, Any]) -> list[deployment.Problem]:
    """Each is its command, or an object of that and of its replicas."""
    parts: dict[str, dict[str, Any]] = {"command": {}, "replicas": {}}
    problems: list[deployment.Problem] = []
    for name, value in processes.items():
        for part, one in (value if isinstance(value, dict) else {"command": value}).items():
            if part in parts:
                parts[part][name] = one
            else:
                problems.append(_problem(f"processes.{name}.{part}", "unknown field"))
    if parts["command"] or not parts["replicas"]:
        problems += _put(flat, "processes", parts["command"])
    return problems + (_put(flat, "process_replicas", parts["replicas"]) if parts["replicas"] else [])


def _put(flat: dict[str, Any], key: str, value: Any) -> list[deployment.Problem]:
    if key in flat:
        return [_problem(key, "given in both the flat and the nested form")]
    flat[key] = value
    return []


def _problem(field: str, issue: str) -> deployment.Problem:
    return {"field": field[:128], "issue": issue}
