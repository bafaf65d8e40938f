"""`/v1/users`: the people of the installation."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, models_users, mutations, schemas
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("users", __name__, url_prefix="/v1/users", abp_tags=[{"name": "users"}])


@blueprint.get("", responses={200: models_users.UserList})
@access.permission("user:read")
def index(query: models_users.UsersQuery) -> flask.Response:
    """List users, oldest first."""
    api = context.current()
    page = api.call(api.services.users.list(context.principal(), query.email, query.cursor, query.limit))
    data = [models_users.UserShape.of(user) for user in page.items]
    return answers.of(models_users.UserList(data=data, next_cursor=page.next_cursor))


@blueprint.post("", responses={201: models_users.UserShape})
@access.permission("user:write")
@mutations.mutation()
def create(body: models_users.UserInput) -> flask.Response:
    """Create a user, who can log in at once."""
    return commands.run(context.current().services.users.create(context.principal(), body.new()), _created)


@blueprint.get("/<id>", responses={200: models_users.UserShape})
@access.permission("user:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a user, by id or email."""
    api = context.current()
    found = api.call(api.services.users.get(context.principal(), path.id))
    return answers.of(models_users.UserShape.of(found), headers=answers.etag(found.generation))


@blueprint.patch("/<id>", responses={200: models_users.UserShape})
@access.permission("user:write")
@mutations.mutation(if_match=True)
def update(path: schemas.ById, body: models_users.UserUpdate) -> flask.Response:
    """Change a user: only the fields given.

    Whoever is disabled, or gets another password, is logged out everywhere. The last operator who is not disabled stays
    one.
    """
    work = context.current().services.users.update(context.principal(), path.id, body.changes())
    return commands.run(work, _shown)


@blueprint.delete("/<id>", responses={204: None})
@access.permission("user:write")
@mutations.mutation(if_match=True)
def delete(path: schemas.ById) -> flask.Response:
    """Delete a user, with their logins, personal tokens and memberships.

    A project that loses its last owner with them stays, and is the operators' to hand on.
    """
    work = context.current().services.users.delete(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


def _shown(user: values.User) -> unit.Answer:
    return answers.change(models_users.UserShape.of(user), 200, user.generation)


def _created(user: values.User) -> unit.Answer:
    return answers.change(models_users.UserShape.of(user), 201, user.generation, f"/v1/users/{user.id}")
