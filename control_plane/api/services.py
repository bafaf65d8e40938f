"""`/v1/services`: what runs, start, stop and restart, and the log."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import (
    access,
    answers,
    commands,
    context,
    follow,
    models_logs,
    models_services,
    mutations,
    running,
    schemas,
)
from control_plane.domain import permissions, values
from control_plane.services import unit

blueprint = APIBlueprint("services", __name__, url_prefix="/v1/services", abp_tags=[{"name": "services"}])


@blueprint.get("", responses={200: models_services.ServiceList})
@access.permission("service:read")
def index(query: schemas.ServicesQuery) -> flask.Response:
    """List services, oldest first."""
    api = context.current()
    page = api.call(
        api.services.services.list(
            context.principal(), query.project, query.name, query.cursor, query.limit, query.status, query.instance
        )
    )
    data = [models_services.ServiceShape.of(service) for service in page.items]
    return answers.of(models_services.ServiceList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>", responses={200: models_services.ServiceShape})
@access.permission("service:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a service."""
    api = context.current()
    found = api.call(api.services.services.get(context.principal(), path.id))
    return _whole(found)


@blueprint.patch("/<id>", responses={200: models_services.ServiceShape})
@access.permission("service:write")
@mutations.mutation(if_match=True, dry_run=True)
def update(path: schemas.ById, body: models_services.ServicePatch) -> flask.Response:
    """Change replicas of processes, resources or the health check without another build; nothing happens when they are as they were."""
    work = context.current().services.services.patch(context.principal(), path.id, body.changes())
    return commands.run(work, lambda done: _shown(done[0], 200))


@blueprint.get("/<id>/status", responses={200: models_services.ServiceShape})
@access.permission("service:read")
def status(path: schemas.ById) -> flask.Response:
    """What is wanted of a service and what its instance reported last."""
    api = context.current()
    found = api.call(api.services.services.status(context.principal(), path.id))
    return _whole(found)


@blueprint.post("/<id>/start", responses={202: models_services.ServiceShape})
@access.permission("service:write")
@mutations.mutation(if_match=True, dry_run=True)
def start(path: schemas.ById) -> flask.Response:
    """Wish a service running."""
    return commands.run(context.current().services.services.start(context.principal(), path.id), _accepted)


@blueprint.post("/<id>/stop", responses={202: models_services.ServiceShape})
@access.permission("service:write")
@mutations.mutation(if_match=True, dry_run=True)
def stop(path: schemas.ById) -> flask.Response:
    """Wish a service stopped."""
    return commands.run(context.current().services.services.stop(context.principal(), path.id), _accepted)


@blueprint.post("/<id>/restart", responses={202: models_services.ServiceShape})
@access.permission("service:write")
@mutations.mutation(if_match=True, dry_run=True)
def restart(path: schemas.ById) -> flask.Response:
    """Replace the processes of a service."""
    return commands.run(context.current().services.services.restart(context.principal(), path.id), _accepted)


@blueprint.get("/<id>/logs", responses={200: models_logs.LogPage})
@access.permission("log:read")
def logs(path: schemas.ById, query: schemas.LogsQuery) -> flask.Response:
    """The last lines of a service's log; with `follow` the new ones too, as they come."""
    return follow.service_log(path.id, query)


@blueprint.post("/<id>/run", responses={200: models_services.RunPiece})
@access.permission("service:run")
@mutations.mutation(dry_run=True)
def run(path: schemas.ById, body: models_services.RunInput) -> flask.Response:
    """Run a command once in the environment of the live release, and send what it writes as it comes.

    The last object says how it ended. Whoever closes the connection ends the command. What it wrote is not kept: the same
    request with the same `Idempotency-Key` again is a 409 that names the run, and the command is not started twice.
    """
    return running.run(path.id, body.command, body.timeout)


def _whole(service: values.ServiceView) -> flask.Response:
    """The lines of crashes are log lines."""
    lines = permissions.may(context.principal(), "log:read", service.project_id)
    return answers.of(models_services.ServiceShape.of(service, lines=lines), headers=answers.etag(service.generation))


def _accepted(wished: values.ServiceView) -> unit.Answer:
    return _shown(wished, 202)


def _shown(service: values.ServiceView, status: int) -> unit.Answer:
    return answers.change(models_services.ServiceShape.of(service), status, service.generation)
