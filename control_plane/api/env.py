"""`/v1/services/:id/env`: variables and their history."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, models_env, mutations, schemas
from control_plane.domain import values, variables
from control_plane.services import env, unit

blueprint = APIBlueprint("env", __name__, url_prefix="/v1/services", abp_tags=[{"name": "env"}])


@blueprint.get("/<id>/env", responses={200: models_env.VariableList})
@access.permission("env:read")
def index(path: schemas.ById, query: models_env.VariablesQuery) -> flask.Response:
    """List the variables of a service by key; the value of a secret is null."""
    api = context.current()
    page, generation = api.call(api.services.env.list(context.principal(), path.id, query.cursor, query.limit))
    return answers.of(_listed(page.items, page.next_cursor), headers=answers.etag(generation))


@blueprint.post("/<id>/env", responses={200: models_env.VariableShape, 201: models_env.VariableShape})
@access.permission("env:write")
@mutations.mutation(if_match=True, dry_run=True)
def set_(path: schemas.ById, query: models_env.ApplyQuery, body: models_env.VariableInput) -> flask.Response:
    """Set a variable: 201 when it is new, 200 when it was there."""
    work = context.current().services.env.set(context.principal(), path.id, body.wanted(), query.apply)
    return commands.run(work, _set)


@blueprint.put("/<id>/env", responses={200: models_env.VariableList})
@access.permission("env:write")
@mutations.mutation(if_match=True, dry_run=True)
def replace(path: schemas.ById, query: models_env.ApplyQuery, body: models_env.VariablesInput) -> flask.Response:
    """Replace all variables; those that are not named are deleted, and secrets without a value keep theirs."""
    wanted = [one.wanted() for one in body.variables]
    work = context.current().services.env.replace(context.principal(), path.id, wanted, query.apply)
    return commands.run(work, lambda done: answers.change(_listed(done.variables, None), 200, done.generation))


@blueprint.get("/<id>/env/history", responses={200: models_env.EnvHistory})
@access.permission("env:read")
def history(path: schemas.ById, query: models_env.EnvHistoryQuery) -> flask.Response:
    """List who set or deleted which variable, newest first; never the values."""
    api = context.current()
    page = api.call(api.services.env.history(context.principal(), path.id, query.key, query.cursor, query.limit))
    data = [models_env.EnvChangeShape.of(change) for change in page.items]
    return answers.of(models_env.EnvHistory(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>/env/<key>", responses={200: models_env.VariableShape})
@access.permission("env:read")
def get(path: models_env.VariablePath) -> flask.Response:
    """Get a variable; one named `history` is shown in the list alone."""
    api = context.current()
    found, generation = api.call(api.services.env.get(context.principal(), path.id, path.key))
    return answers.of(models_env.VariableShape.of(found), headers=answers.etag(generation))


@blueprint.delete("/<id>/env/<key>", responses={204: None})
@access.permission("env:write")
@mutations.mutation(if_match=True, dry_run=True)
def unset(path: models_env.VariablePath, query: models_env.ApplyQuery) -> flask.Response:
    """Delete a variable."""
    work = context.current().services.env.unset(context.principal(), path.id, path.key, query.apply)
    return commands.run(work, lambda _: answers.change(None, 204))


def _set(done: tuple[values.Variable, env.Environment, bool]) -> unit.Answer:
    variable, among, is_new = done
    location = f"/v1/services/{among.service.id}/env/{variable.key}" if is_new else ""
    return answers.change(models_env.VariableShape.of(variable), 201 if is_new else 200, among.generation, location)


def _listed(found: variables.Variables, following: str | None) -> models_env.VariableList:
    return models_env.VariableList(data=[models_env.VariableShape.of(one) for one in found], next_cursor=following)
