"""What `/v1/deployments` takes beside the declaration itself (schemas.py), and gives: deployments, releases, differences."""

from typing import Annotated, Any, ClassVar

import pydantic

from control_plane import clock
from control_plane.api import models_config, rules, schemas, shapes
from control_plane.domain import grammar, values


class RedeployInput(schemas.Input):
    """An empty object is the same as no body: from what the branch is now."""

    RULES: ClassVar[rules.Rules] = {"commit": rules.said("commit", grammar.commit_issue)}
    commit: str = pydantic.Field("", description="7 to 64 hexadecimal digits; else the head of the branch")


class RollbackInput(schemas.Input):
    """An empty object is the same as no body: to the release that was live before."""

    release: Annotated[int, pydantic.Field(ge=1, le=2**31 - 1)] = schemas.optional()


class DeploymentShape(models_config.ConfigShape):
    """`project` is the name of the project. `commit` is that of the newest release; `commit_pinned` when it was declared.

    `url` is the first of `urls`. `pending_changes`: what is declared waits for the next release. `warnings` tell what
    has no effect where it runs.
    """

    id: str
    name: str
    project: str
    project_id: str
    status: str
    status_reason: str
    service_id: str
    instance_id: str
    release: int
    live_release: int | None
    commit: str
    commit_pinned: bool
    poll: bool
    pending_changes: bool
    url: str | None
    urls: list[str]
    warnings: list[str]
    generation: int
    created_at: str
    updated_at: str

    @classmethod
    def of(cls, view: values.DeploymentView) -> "DeploymentShape":
        declared, config = view.deployment, view.deployment.config
        return cls(
            id=declared.id,
            name=declared.name,
            project=view.project,
            project_id=declared.project_id,
            status=view.status,
            status_reason=view.status_reason,
            service_id=declared.service_id,
            instance_id=view.instance_id,
            release=declared.release,
            live_release=view.live_release,
            commit=view.commit,
            commit_pinned=bool(config.commit),
            poll=declared.poll,
            pending_changes=view.pending_changes,
            url=view.urls[0] if view.urls else None,
            urls=list(view.urls),
            warnings=list(view.warnings),
            generation=declared.generation,
            created_at=clock.rfc3339(declared.created_at),
            updated_at=clock.rfc3339(declared.updated_at),
            **models_config.fields_of(config, view.decided),
        )


class DeploymentList(shapes.Shape):
    data: list[DeploymentShape]
    next_cursor: str | None


class ReleaseShape(shapes.Shape):
    """`cause` is what made it; `build_of` the release whose build it uses again. `config` is what was declared then.

    A `pinned` one is kept for good, with its build, to be gone back to.
    """

    id: str
    deployment_id: str
    number: int
    state: str
    reason: str
    message: str
    cause: str
    build_of: int | None
    commit: str
    archive: str | None
    pinned: bool
    runtime: str
    version: str
    config: models_config.ConfigShape
    created_at: str
    changed_at: str

    @classmethod
    def of(cls, release: values.Release) -> "ReleaseShape":
        return cls(
            id=release.id,
            deployment_id=release.deployment_id,
            number=release.number,
            state=release.state,
            reason=release.reason,
            message=release.message,
            cause=release.cause,
            build_of=release.build_of or None,
            commit=release.commit,
            archive=release.archive or None,
            pinned=release.pinned,
            runtime=release.config.runtime,
            version=release.config.version,
            config=models_config.ConfigShape(**models_config.fields_of(release.config, release.decided)),
            created_at=clock.rfc3339(release.created_at),
            changed_at=clock.rfc3339(release.changed_at),
        )


class ReleaseList(shapes.Shape):
    data: list[ReleaseShape]
    next_cursor: str | None


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
