"""`/v1/instances`: the hosts, and what they measured last."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, context, schemas, shapes

blueprint = APIBlueprint("instances", __name__, url_prefix="/v1/instances", abp_tags=[{"name": "instances"}])


@blueprint.get("", responses={200: shapes.InstanceList})
@access.permission("instance:read")
def index(query: schemas.Page) -> flask.Response:
    """List instances, oldest first."""
    api = context.current()
    page = api.call(api.services.instances.list(context.principal(), query.cursor, query.limit))
    data = [shapes.InstanceShape.of(instance) for instance in page.items]
    return answers.of(shapes.InstanceList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>", responses={200: shapes.InstanceShape})
@access.permission("instance:read")
def get(path: schemas.ById) -> flask.Response:
    """Get an instance."""
    api = context.current()
    return answers.of(shapes.InstanceShape.of(api.call(api.services.instances.get(context.principal(), path.id))))


@blueprint.get("/<id>/metrics", responses={200: shapes.Metrics})
@access.permission("instance:read")
def metrics(path: schemas.ById) -> flask.Response:
    """The newest sample of an instance, as JSON or (by Accept) as Prometheus text."""
    api = context.current()
    sample = api.call(api.services.instances.metrics(context.principal(), path.id))
    if answers.wants_prometheus():
        return answers.text(sample.exposition)
    return answers.of(shapes.Metrics.of(sample))
