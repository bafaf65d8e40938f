"""What clients send as a deployment: its types and unknown fields; the rules of each field stand in domain/."""

from typing import Annotated, Any, ClassVar, Self

import pydantic

from control_plane.api import flat, forms, schemas
from control_plane.domain import deployment


class _Declared(schemas.Input):
    """The fields that create and update share."""

    IS_NEW: ClassVar[bool] = False

    project: str = schemas.optional()
    source: str = schemas.optional()
    remote: Annotated[str, pydantic.WithJsonSchema(forms.NESTED_REMOTE)] = schemas.optional()
    branch: str = schemas.optional()
    commit: str = schemas.optional()
    image: str = schemas.optional()
    runtime: Annotated[str, pydantic.WithJsonSchema(forms.NESTED_RUNTIME)] = schemas.optional()
    version: str = schemas.optional()
    build_cmd: str = schemas.optional()
    run_cmd: str = schemas.optional()
    working_dir: str = schemas.optional()
    static_dir: str = schemas.optional()
    port: int = schemas.optional()
    health_check: Annotated[dict[str, Any], pydantic.WithJsonSchema(forms.HEALTH_CHECK)] = schemas.optional()
    description: str = schemas.optional()
    git_token: Annotated[str, pydantic.WithJsonSchema({"type": "string", "writeOnly": True})] = schemas.optional()
    git_host_key: str = schemas.optional()
    submodules: bool = schemas.optional()
    replicas: int = schemas.optional()
    resources: Annotated[dict[str, Any], pydantic.WithJsonSchema(forms.RESOURCES)] = schemas.optional()
    strategy: Annotated[str | dict[str, Any], pydantic.WithJsonSchema(forms.STRATEGY)] = schemas.optional()
    port_mode: Annotated[str, pydantic.WithJsonSchema(forms.PORT_MODE)] = schemas.optional()
    auto_rollback: Annotated[bool, pydantic.WithJsonSchema(forms.AUTO_ROLLBACK)] = schemas.optional()
    volumes: Annotated[list[dict[str, Any]], pydantic.WithJsonSchema(forms.VOLUMES)] = schemas.optional()
    placement: Annotated[dict[str, str], pydantic.WithJsonSchema(forms.PLACEMENT)] = schemas.optional()
    instance: str = schemas.optional()
    poll: bool = schemas.optional()

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _all_faults(cls, data: Any, handler: pydantic.ModelWrapValidatorHandler[Self]) -> Self:
        """InvalidError with the faults of the form and those of the rules, as far as the rest can be judged."""
        if not isinstance(data, dict):
            return handler(data)
        fields, problems = flat.flattened(data)
        try:
            made = handler(fields)
        except pydantic.ValidationError as error:
            problems += schemas.problems_of(error)
        if not problems:
            return made
        bad = {str(problem["field"]).partition(".")[0] for problem in problems}
        rest = {name: value for name, value in fields.items() if name in cls.model_fields and name not in bad}
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
    env: Annotated[dict[str, str], pydantic.WithJsonSchema(forms.ENV)] = schemas.optional()
    secrets: Annotated[dict[str, str], pydantic.WithJsonSchema({**forms.ENV, "writeOnly": True})] = schemas.optional()
    processes: Annotated[dict[str, str], pydantic.WithJsonSchema(forms.PROCESSES)] = schemas.optional()
    process_replicas: Annotated[dict[str, int], pydantic.WithJsonSchema(forms.PROCESS_REPLICAS)] = schemas.optional()
    cron: Annotated[dict[str, dict[str, Any]], pydantic.WithJsonSchema(forms.CRON)] = schemas.optional()
    labels: Annotated[dict[str, str], pydantic.WithJsonSchema(forms.TEXTS)] = schemas.optional()

    def fields(self) -> deployment.DeploymentFields:
        return deployment.DeploymentFields(**self.given(), given=deployment.asked_for(self.given()))


class DeploymentUpdate(_Declared):
    model_config = pydantic.ConfigDict(json_schema_extra=_with_env_vars)

    name: str = schemas.optional()
    env: Annotated[dict[str, str | None], pydantic.WithJsonSchema(forms.ENV_CHANGES)] = schemas.optional()
    secrets: Annotated[dict[str, str | None], pydantic.WithJsonSchema({**forms.ENV_CHANGES, "writeOnly": True})] = (
        schemas.optional()
    )
    processes: Annotated[dict[str, str | None], pydantic.WithJsonSchema(forms.PROCESS_CHANGES)] = schemas.optional()
    process_replicas: Annotated[dict[str, int | None], pydantic.WithJsonSchema(forms.REPLICAS_CHANGES)] = (
        schemas.optional()
    )
    cron: Annotated[dict[str, dict[str, Any] | None], pydantic.WithJsonSchema(forms.CRON_CHANGES)] = schemas.optional()
    labels: Annotated[dict[str, str | None], pydantic.WithJsonSchema(forms.TEXT_CHANGES)] = schemas.optional()

    def changes(self) -> deployment.DeploymentChanges:
        return deployment.DeploymentChanges(**self.given())
