"""`/v1/tokens`: personal access tokens."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, models_tokens, mutations, schemas
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("tokens", __name__, url_prefix="/v1/tokens", abp_tags=[{"name": "tokens"}])


@blueprint.get("", responses={200: models_tokens.TokenList})
@access.permission("token:read")
def index(query: schemas.Page) -> flask.Response:
    """List your personal tokens, oldest first. Their secrets are not among it."""
    api = context.current()
    page = api.call(api.services.tokens.list(context.principal(), query.cursor, query.limit))
    data = [models_tokens.TokenShape.of(token) for token in page.items]
    return answers.of(models_tokens.TokenList(data=data, next_cursor=page.next_cursor))


@blueprint.post("", responses={201: models_tokens.NewTokenShape})
@access.permission("token:write")
@mutations.mutation()
def create(body: models_tokens.TokenInput) -> flask.Response:
    """Create a personal token; its secret is in this answer and in no other.

    It never can do more than you, nor more than the token that asks for it. Send it as `Authorization: Bearer pat_…`.
    """
    return commands.run(context.current().services.tokens.create(context.principal(), body.new()), _created)


@blueprint.get("/<id>", responses={200: models_tokens.TokenShape})
@access.permission("token:read")
def get(path: schemas.ById) -> flask.Response:
    """Get one of your personal tokens, without its secret."""
    api = context.current()
    return answers.of(models_tokens.TokenShape.of(api.call(api.services.tokens.get(context.principal(), path.id))))


@blueprint.delete("/<id>", responses={204: None})
@access.permission("token:write")
@mutations.mutation()
def delete(path: schemas.ById) -> flask.Response:
    """Revoke one of your personal tokens."""
    work = context.current().services.tokens.delete(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


def _created(made: tuple[values.Token, str]) -> unit.Answer:
    token, secret = made
    shape = models_tokens.NewTokenShape.made(token, secret)
    return answers.change(shape, 201, location=f"/v1/tokens/{token.id}")
