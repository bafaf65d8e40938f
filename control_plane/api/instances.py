"""`/v1/instances`: the hosts, and what they measured."""

from collections.abc import Sequence

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, models_disks, models_instances, mutations, schemas
from control_plane.domain import values
from control_plane.services import unit
from control_plane.services.instances import JoinToken

blueprint = APIBlueprint("instances", __name__, url_prefix="/v1/instances", abp_tags=[{"name": "instances"}])


@blueprint.get("", responses={200: models_instances.InstanceList})
@access.permission("instance:read")
def index(query: schemas.InstancesQuery) -> flask.Response:
    """List instances, oldest first."""
    api = context.current()
    page = api.call(
        api.services.instances.list(context.principal(), query.cursor, query.limit, query.status, query.name)
    )
    data = [models_instances.InstanceShape.of(instance) for instance in page.items]
    return answers.of(models_instances.InstanceList(data=data, next_cursor=page.next_cursor))


@blueprint.post("/join-tokens", responses={201: models_instances.JoinTokenShape})
@access.permission("instance:write")
@mutations.mutation(dry_run=True, optional_body=True)
def join_token(body: models_instances.JoinTokenInput) -> flask.Response:
    """Make a token with which one host joins, and the command that uses it there.

    The token in the answer to a dry run is never good for anything.
    """
    work = context.current().services.instances.invite(context.principal(), body.expires_in)
    return commands.run(work, _invited)


@blueprint.get("/<id>", responses={200: models_instances.InstanceShape})
@access.permission("instance:read")
def get(path: schemas.ById) -> flask.Response:
    """Get an instance."""
    api = context.current()
    found = api.call(api.services.instances.get(context.principal(), path.id))
    return answers.of(models_instances.InstanceShape.of(found), headers=answers.etag(found.generation))


@blueprint.patch("/<id>", responses={200: models_instances.InstanceShape})
@access.permission("instance:write")
@mutations.mutation(if_match=True, dry_run=True)
def update(path: schemas.ById, body: models_instances.InstancePatch) -> flask.Response:
    """Change the labels of an instance, or whether new services are placed on it."""
    work = context.current().services.instances.update(context.principal(), path.id, body.changes())
    return commands.run(work, _shown)


@blueprint.post("/<id>/drain", responses={200: models_instances.DrainShape})
@access.permission("instance:write")
@mutations.mutation(if_match=True, dry_run=True)
def drain(path: schemas.ById) -> flask.Response:
    """Place nothing new on an instance, and list what is still there; services do not move by themselves yet."""
    work = context.current().services.instances.drain(context.principal(), path.id)
    return commands.run(work, _drained)


@blueprint.delete("/<id>", responses={204: None})
@access.permission("instance:write")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById) -> flask.Response:
    """Remove an instance without services: its certificate is refused from now on."""
    work = context.current().services.instances.remove(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


@blueprint.get("/<id>/metrics", responses={200: models_instances.Metrics})
@access.permission("instance:metrics")
def metrics(path: schemas.ById, query: schemas.MetricsQuery) -> flask.Response:
    """What an instance measured: the newest sample and series over time, or (by Accept) that sample as Prometheus text."""
    api = context.current()
    instances = api.services.instances
    sample = api.call(instances.metrics(context.principal(), path.id))
    if answers.wants_prometheus():
        return answers.text(sample.exposition)
    over = api.call(instances.series(context.principal(), path.id, query.begin, query.end, query.step))
    return answers.of(models_instances.Metrics.of(sample, over))


@blueprint.get("/<id>/disk", responses={200: models_disks.DiskShape})
@access.permission("instance:metrics")
def disk(path: schemas.ById) -> flask.Response:
    """What uses the disk of an instance, by service and by what it is."""
    api = context.current()
    found = api.call(api.services.disks.of(context.principal(), path.id))
    return answers.of(models_disks.DiskShape.of(found))


def _shown(instance: values.InstanceView) -> unit.Answer:
    return answers.change(models_instances.InstanceShape.of(instance), 200, instance.generation)


def _drained(done: tuple[values.InstanceView, Sequence[values.Service]]) -> unit.Answer:
    return answers.change(models_instances.DrainShape.of(*done), 200, done[0].generation)


def _invited(made: JoinToken) -> unit.Answer:
    return answers.change(models_instances.JoinTokenShape.of(made), 201, location="/v1/instances")
