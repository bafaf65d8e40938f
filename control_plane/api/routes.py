"""`/v1/proxy/routes`: domains sent to services."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, context, schemas, shapes

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
def create(body: schemas.RouteInput) -> flask.Response:
    """Send a domain (and path) to a service; `port` is the one that its deployment declares."""
    api = context.current()
    route = api.call(
        api.services.routes.create(context.principal(), body.domain, body.service_id, body.port, body.path)
    )
    return answers.of(shapes.RouteShape.of(route), 201, {"Location": f"/v1/proxy/routes/{route.id}"})


@blueprint.get("/<id>", responses={200: shapes.RouteShape})
@access.permission("route:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a route: whether it is active, and what the proxy says."""
    api = context.current()
    return answers.of(shapes.RouteShape.of(api.call(api.services.routes.get(context.principal(), path.id))))


@blueprint.delete("/<id>", responses={204: None})
@access.permission("route:write")
def delete(path: schemas.ById) -> flask.Response:
    """Delete a route."""
    api = context.current()
    api.call(api.services.routes.delete(context.principal(), path.id))
    return flask.Response(status=204)
