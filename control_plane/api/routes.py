"""`/v1/proxy/routes`: domains sent to services."""

import functools

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, mutations, schemas
from control_plane.api import models_routes as models
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("routes", __name__, url_prefix="/v1/proxy/routes", abp_tags=[{"name": "routes"}])


@blueprint.get("", responses={200: models.RouteList})
@access.permission("route:read")
def index(query: models.RoutesQuery) -> flask.Response:
    """List routes, oldest first."""
    api = context.current()
    page = api.call(api.services.routes.list(context.principal(), query.wanted(), query.cursor, query.limit))
    now = api.services.clock.now()
    data = [models.RouteShape.of(route, now) for route in page.items]
    return answers.of(models.RouteList(data=data, next_cursor=page.next_cursor))


@blueprint.post("", responses={201: models.RouteShape})
@access.permission("route:write")
@mutations.mutation(dry_run=True)
def create(body: models.RouteInput) -> flask.Response:
    """Send a domain (and path) to a service; `port` is the one that its deployment declares."""
    services = context.current().services
    work = services.routes.create(context.principal(), body.fields())
    return commands.run(work, functools.partial(_created, now=services.clock.now()))


@blueprint.get("/<id>", responses={200: models.RouteShape})
@access.permission("route:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a route: whether it is active, and what the proxy says."""
    api = context.current()
    found = api.call(api.services.routes.get(context.principal(), path.id))
    return answers.of(models.RouteShape.of(found, api.services.clock.now()), headers=answers.etag(found.generation))


@blueprint.patch("/<id>", responses={200: models.RouteShape})
@access.permission("route:write")
@mutations.mutation(if_match=True, dry_run=True)
def update(path: schemas.ById, body: models.RoutePatch) -> flask.Response:
    """Change where a route leads, or how it is served."""
    services = context.current().services
    work, now = services.routes.update(context.principal(), path.id, body.changes()), services.clock.now()
    return commands.run(work, lambda route: answers.change(models.RouteShape.of(route, now), 200, route.generation))


@blueprint.delete("/<id>", responses={204: None})
@access.permission("route:write")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById) -> flask.Response:
    """Delete a route."""
    work = context.current().services.routes.delete(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


def _created(route: values.Route, now: values.Time) -> unit.Answer:
    return answers.change(models.RouteShape.of(route, now), 201, route.generation, f"/v1/proxy/routes/{route.id}")
