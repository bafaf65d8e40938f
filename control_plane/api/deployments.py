"""`/v1/deployments`, their releases and the build log of a release."""

import flask
from flask_openapi.blueprint import APIBlueprint
from werkzeug import exceptions as http_errors

from control_plane.api import (
    access,
    answers,
    commands,
    context,
    declared,
    follow,
    models_deployments,
    models_logs,
    mutations,
    schemas,
    vocabulary,
)
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("deployments", __name__, url_prefix="/v1/deployments", abp_tags=[{"name": "deployments"}])


@blueprint.post("", responses={201: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(dry_run=True)
def create(body: declared.DeploymentCreate) -> flask.Response:
    """Declare a deployment; its first release is built and started afterwards."""
    work = context.current().services.deployments.create(context.principal(), body.fields())
    return commands.run(work, _created)


@blueprint.get("", responses={200: models_deployments.DeploymentList})
@access.permission("deployment:read")
def index(query: schemas.DeploymentsQuery) -> flask.Response:
    """List deployments, oldest first."""
    api = context.current()
    page = api.call(
        api.services.deployments.list(
            context.principal(), query.project, query.name, query.status, query.cursor, query.limit
        )
    )
    data = [models_deployments.DeploymentShape.of(view) for view in page.items]
    return answers.of(models_deployments.DeploymentList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>", responses={200: models_deployments.DeploymentShape})
@access.permission("deployment:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a deployment."""
    api = context.current()
    view = api.call(api.services.deployments.get(context.principal(), path.id))
    return answers.of(models_deployments.DeploymentShape.of(view), headers=answers.etag(view.deployment.generation))


@blueprint.put("/<id>", responses={200: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def update(path: schemas.ById, body: declared.DeploymentUpdate) -> flask.Response:
    """Change the fields given and roll a new release out; nothing happens when they are as they were."""
    work = context.current().services.deployments.update(context.principal(), path.id, body.changes())
    return commands.run(work, lambda done: _shown(done[0], 200))


@blueprint.post("/<id>/redeploy", responses={202: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True, optional_body=True)
def redeploy(path: schemas.ById, body: models_deployments.RedeployInput) -> flask.Response:
    """Make another release of what is declared, from what its branch is now or from a commit."""
    work = context.current().services.deployments.redeploy(context.principal(), path.id, body.commit)
    return commands.run(work, _accepted)


@blueprint.post("/<id>/rollback", responses={202: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True, optional_body=True)
def rollback(path: schemas.ById, body: models_deployments.RollbackInput) -> flask.Response:
    """Go back to a release that was live, without another build: a new release with its configuration and environment."""
    work = context.current().services.deployments.rollback(context.principal(), path.id, body.release)
    return commands.run(work, _accepted)


@blueprint.post("/<id>/cancel", responses={202: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def cancel(path: schemas.ById) -> flask.Response:
    """Give up the release that is under way; what serves goes on serving."""
    return commands.run(context.current().services.deployments.cancel(context.principal(), path.id), _accepted)


@blueprint.post("/<id>/source", responses={202: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def source(path: schemas.ById) -> flask.Response:
    """Upload the source of a deployment with `source: local`: the body is a .tar.gz, .tar.zst or .zip.

    The release that waits for it goes on; without one there is a new release. The type may be application/gzip,
    application/zstd or application/zip too; what counts is how the body begins.
    """
    api, principal = context.current(), context.principal()
    api.call(api.services.deployments.expect_source(principal, path.id))
    if flask.request.mimetype not in vocabulary.ARCHIVE_TYPES:
        raise http_errors.UnsupportedMediaType(f"send one of {', '.join(vocabulary.ARCHIVE_TYPES)}")
    archive = api.services.archives.keep(flask.request.stream)
    try:
        return commands.run(api.services.deployments.upload(principal, path.id, archive), _accepted, archive)
    finally:
        api.call(api.services.archives.used(archive))


@blueprint.delete("/<id>", responses={202: models_deployments.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById) -> flask.Response:
    """Remove a deployment with its service, routes and volumes; it is `deleting` until its instance has done so.

    What its volumes hold is deleted with it: back them up before.
    """
    work = context.current().services.deployments.delete(context.principal(), path.id)
    return commands.run(work, _accepted)


@blueprint.get("/<id>/releases", responses={200: models_deployments.ReleaseList})
@access.permission("deployment:read")
def releases(path: schemas.ById, query: schemas.Page) -> flask.Response:
    """List the releases of a deployment, newest first."""
    api = context.current()
    page = api.call(api.services.deployments.releases(context.principal(), path.id, query.cursor, query.limit))
    data = [models_deployments.ReleaseShape.of(release) for release in page.items]
    return answers.of(models_deployments.ReleaseList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>/releases/<int:n>", responses={200: models_deployments.ReleaseShape})
@access.permission("deployment:read")
def release(path: schemas.ReleasePath) -> flask.Response:
    """Get a release."""
    api = context.current()
    found = api.call(api.services.deployments.release(context.principal(), path.id, path.n))
    return answers.of(models_deployments.ReleaseShape.of(found))


@blueprint.post("/<id>/releases/<int:n>/pin", responses={200: models_deployments.ReleaseShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def pin(path: schemas.ReleasePath) -> flask.Response:
    """Keep a release that was live, so that it can be gone back to without a build however many follow it."""
    work = context.current().services.deployments.pin(context.principal(), path.id, path.n, pinned=True)
    return commands.run(work, _pinned)


@blueprint.post("/<id>/releases/<int:n>/unpin", responses={200: models_deployments.ReleaseShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def unpin(path: schemas.ReleasePath) -> flask.Response:
    """Let a release go in its time, as others do."""
    work = context.current().services.deployments.pin(context.principal(), path.id, path.n, pinned=False)
    return commands.run(work, _pinned)


@blueprint.get("/<id>/releases/<int:n>/logs", responses={200: models_logs.LogPage})
@access.permission("log:read")
def release_logs(path: schemas.ReleasePath, query: schemas.BuildLogsQuery) -> flask.Response:
    """The build log of a release; with `follow` it ends by itself when the release is live or has failed."""
    return follow.release_log(path.id, path.n, query)


@blueprint.get("/<id>/releases/<int:a>/diff/<int:b>", responses={200: models_deployments.DifferenceShape})
@access.permission("deployment:read")
def diff(path: schemas.DifferencePath) -> flask.Response:
    """What differs between two releases."""
    api = context.current()
    old, new, changes = api.call(api.services.deployments.difference(context.principal(), path.id, path.a, path.b))
    return answers.of(models_deployments.DifferenceShape.of(old, new, changes))


def _created(view: values.DeploymentView) -> unit.Answer:
    return _shown(view, 201, f"/v1/deployments/{view.deployment.id}")


def _accepted(view: values.DeploymentView) -> unit.Answer:
    return _shown(view, 202)


def _pinned(found: values.Release) -> unit.Answer:
    return answers.change(models_deployments.ReleaseShape.of(found), 200)


def _shown(view: values.DeploymentView, status: int, location: str = "") -> unit.Answer:
    return answers.change(models_deployments.DeploymentShape.of(view), status, view.deployment.generation, location)
