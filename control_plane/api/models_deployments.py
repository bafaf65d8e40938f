"""What clients send and get beside the declaration itself: redeploy, rollback, differences, one-off runs."""

from typing import Annotated, Any, ClassVar

import pydantic

from control_plane.api import rules, schemas, shapes
from control_plane.domain import declaration, grammar, health, resources, values
from control_plane.services import runs
from control_plane.services.services import ServiceChanges


class RedeployInput(schemas.Input):
    """An empty object is the same as no body: from what the branch is now."""

    RULES: ClassVar[rules.Rules] = {"commit": rules.said("commit", grammar.commit_issue)}
    commit: str = pydantic.Field("", description="7 to 64 hexadecimal digits; else the head of the branch")


class RollbackInput(schemas.Input):
    """An empty object is the same as no body: to the release that was live before."""

    release: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)] = schemas.optional()


def _check_problems(given: dict[str, Any]) -> list[rules.Problem]:
    return health.problems({key: value for key, value in given.items() if value is not None})


class ServicePatch(schemas.Input):
    """Only the fields given change; the keys of `resources` and `health_check` merge."""

    RULES: ClassVar[rules.Rules] = {
        "replicas": rules.said("replicas", declaration.replicas_issue),
        "resources": resources.problems,
        "health_check": _check_problems,
    }
    replicas: int = schemas.optional()
    resources: Annotated[dict[str, Any], pydantic.WithJsonSchema(schemas.RESOURCES)] = schemas.optional()
    health_check: Annotated[dict[str, Any], pydantic.WithJsonSchema(schemas.HEALTH_CHECK)] = schemas.optional()

    def changes(self) -> ServiceChanges:
        return ServiceChanges(**{name: getattr(self, name) for name in self.model_fields_set})


class RunInput(schemas.Input):
    """The command has the environment and the directory of the live release."""

    RULES: ClassVar[rules.Rules] = {
        "command": rules.said("command", runs.command_issue),
        "timeout": rules.said("timeout", runs.timeout_issue),
    }
    command: str
    timeout: Annotated[float | str, pydantic.WithJsonSchema(schemas.DURATION)] = runs.DEFAULT_TIMEOUT_S


class RunExit(shapes.Shape):
    """`outcome` is exited, signalled, timeout, cancelled or start_failed; `code` the exit code, signal or errno."""

    outcome: str
    code: int


class RunPiece(shapes.Shape):
    """A piece of what the command wrote to `stream`; the last object has `exit` instead."""

    stream: str | None = None
    data: str | None = None
    exit: RunExit | None = None


class Difference(shapes.Shape):
    """Of one field, variables as `env.KEY`; null is "not there". Of what is secret only that it differs."""

    field: str
    before: Any = pydantic.Field(alias="from")
    after: Any = pydantic.Field(alias="to")


class DifferenceShape(shapes.Shape):
    """What `to` has that `from` had otherwise."""

    first: int = pydantic.Field(alias="from")
    second: int = pydantic.Field(alias="to")
    commits: list[str]
    changes: list[Difference]

    @classmethod
    def of(cls, old: values.Release, new: values.Release, changes: Any) -> "DifferenceShape":
        return cls.model_validate(
            {"from": old.number, "to": new.number, "commits": [old.commit, new.commit], "changes": list(changes)}
        )
