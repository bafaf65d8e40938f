"""`/v1/proxy/routes`: domains sent to services."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, mutations, schemas, shapes
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("routes", __name__, url_prefix="/v1/proxy/routes", abp_tags=[{"name": "routes"}])


@blueprint.get("", responses={200: shapes.RouteList})
@access.permission("route:read")
def index(query: schemas.RoutesQuery) -> flask.Response:
    """List routes, oldest first."""
    api = context.current()
    page = api.call(
        api.services.routes.list(context.principal(), query.project, query.service, query.cursor, query.limit)
    )
    data = [shapes.RouteShape.of(route) for route in page.items]
    return answers.of(shapes.RouteList(data=data, next_cursor=page.next_cursor))


@blueprint.post("", responses={201: shapes.RouteShape})
@access.permission("route:write")
@mutations.mutation(dry_run=True)
def create(body: schemas.RouteInput) -> flask.Response:
    """Send a domain (and path) to a service; `port` is the one that its deployment declares."""
    api = context.current()
    work = api.services.routes.create(context.principal(), body.domain, body.service_id, body.port, body.path)
    return commands.run(work, _created)


@blueprint.get("/<id>", responses={200: shapes.RouteShape})
@access.permission("route:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a route: whether it is active, and what the proxy says."""
    api = context.current()
    found = api.call(api.services.routes.get(context.principal(), path.id))
    return answers.of(shapes.RouteShape.of(found), headers=answers.etag(found.generation))


@blueprint.delete("/<id>", responses={204: None})
@access.permission("route:write")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById) -> flask.Response:
    """Delete a route."""
    work = context.current().services.routes.delete(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


def _created(route: values.Route) -> unit.Answer:
    return answers.change(shapes.RouteShape.of(route), 201, route.generation, f"/v1/proxy/routes/{route.id}")
