"""`/v1/deployments`, their releases and the build log of a release."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, follow, mutations, schemas, shapes
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("deployments", __name__, url_prefix="/v1/deployments", abp_tags=[{"name": "deployments"}])


@blueprint.post("", responses={201: shapes.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(dry_run=True)
def create(body: schemas.DeploymentCreate) -> flask.Response:
    """Declare a deployment; its first release is built and started afterwards."""
    work = context.current().services.deployments.create(context.principal(), body.fields())
    return commands.run(work, _created)


@blueprint.get("", responses={200: shapes.DeploymentList})
@access.permission("deployment:read")
def index(query: schemas.DeploymentsQuery) -> flask.Response:
    """List deployments, oldest first."""
    api = context.current()
    page = api.call(
        api.services.deployments.list(
            context.principal(), query.project, query.name, query.status, query.cursor, query.limit
        )
    )
    data = [shapes.DeploymentShape.of(view) for view in page.items]
    return answers.of(shapes.DeploymentList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>", responses={200: shapes.DeploymentShape})
@access.permission("deployment:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a deployment."""
    api = context.current()
    view = api.call(api.services.deployments.get(context.principal(), path.id))
    return answers.of(shapes.DeploymentShape.of(view), headers=answers.etag(view.deployment.generation))


@blueprint.put("/<id>", responses={200: shapes.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def update(path: schemas.ById, body: schemas.DeploymentUpdate) -> flask.Response:
    """Change the fields given and roll a new release out; nothing happens when they are as they were."""
    work = context.current().services.deployments.update(context.principal(), path.id, body.changes())
    return commands.run(work, lambda done: _shown(done[0], 200))


@blueprint.post("/<id>/redeploy", responses={202: shapes.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def redeploy(path: schemas.ById) -> flask.Response:
    """Make another release of what is declared, from what its branch is now."""
    work = context.current().services.deployments.redeploy(context.principal(), path.id)
    return commands.run(work, _accepted)


@blueprint.delete("/<id>", responses={202: shapes.DeploymentShape})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById) -> flask.Response:
    """Remove a deployment with its service and routes; it is `deleting` until its instance has done so."""
    work = context.current().services.deployments.delete(context.principal(), path.id)
    return commands.run(work, _accepted)


@blueprint.get("/<id>/releases", responses={200: shapes.ReleaseList})
@access.permission("deployment:read")
def releases(path: schemas.ById) -> flask.Response:
    """List the releases of a deployment, newest first."""
    api = context.current()
    found = api.call(api.services.deployments.releases(context.principal(), path.id))
    return answers.of(shapes.ReleaseList(data=[shapes.ReleaseShape.of(release) for release in found]))


@blueprint.get("/<id>/releases/<int:n>", responses={200: shapes.ReleaseShape})
@access.permission("deployment:read")
def release(path: schemas.ReleasePath) -> flask.Response:
    """Get a release."""
    api = context.current()
    found = api.call(api.services.deployments.release(context.principal(), path.id, path.n))
    return answers.of(shapes.ReleaseShape.of(found))


@blueprint.get("/<id>/releases/<int:n>/logs", responses={200: shapes.LogPage})
@access.permission("log:read")
def release_logs(path: schemas.ReleasePath, query: schemas.LogsQuery) -> flask.Response:
    """The build log of a release; with `follow` it ends by itself when the release is live or has failed."""
    return follow.release_log(path.id, path.n, query)


def _created(view: values.DeploymentView) -> unit.Answer:
    return _shown(view, 201, f"/v1/deployments/{view.deployment.id}")


def _accepted(view: values.DeploymentView) -> unit.Answer:
    return _shown(view, 202)


def _shown(view: values.DeploymentView, status: int, location: str = "") -> unit.Answer:
    return answers.change(shapes.DeploymentShape.of(view), status, view.deployment.generation, location)
