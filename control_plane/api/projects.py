"""`/v1/projects`: what deployments belong to."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, models_projects, mutations, schemas
from control_plane.domain import values
from control_plane.services import unit

blueprint = APIBlueprint("projects", __name__, url_prefix="/v1/projects", abp_tags=[{"name": "projects"}])


@blueprint.get("", responses={200: models_projects.ProjectList})
@access.permission("project:read")
def index(query: models_projects.ProjectsQuery) -> flask.Response:
    """List the projects that you are a member of, oldest first; for operators all of them."""
    api = context.current()
    page = api.call(api.services.projects.list(context.principal(), query.name, query.cursor, query.limit))
    data = [models_projects.ProjectShape.of(project) for project in page.items]
    return answers.of(models_projects.ProjectList(data=data, next_cursor=page.next_cursor))


@blueprint.post("", responses={201: models_projects.ProjectShape})
@access.permission("project:create")
@mutations.mutation(dry_run=True)
def create(body: models_projects.ProjectInput) -> flask.Response:
    """Create a project, and own it."""
    work = context.current().services.projects.create(context.principal(), body.name, body.description)
    return commands.run(work, _created)


@blueprint.get("/<id>", responses={200: models_projects.ProjectShape})
@access.permission("project:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a project."""
    api = context.current()
    found = api.call(api.services.projects.get(context.principal(), path.id))
    return answers.of(models_projects.ProjectShape.of(found), headers=answers.etag(found.generation))


@blueprint.patch("/<id>", responses={200: models_projects.ProjectShape})
@access.permission("project:write")
@mutations.mutation(if_match=True, dry_run=True)
def update(path: schemas.ById, body: models_projects.ProjectUpdate) -> flask.Response:
    """Rename or describe a project."""
    given = {name: getattr(body, name) for name in body.model_fields_set}
    work = context.current().services.projects.update(context.principal(), path.id, **given)
    return commands.run(work, lambda project: _shown(project, 200))


@blueprint.delete("/<id>", responses={202: models_projects.ProjectShape, 204: None})
@access.permission("project:delete")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById, query: models_projects.ProjectDeleteQuery) -> flask.Response:
    """Delete an empty project; with `force` also one with deployments, which are deleted first.

    It is `deleting` until their instances have done so.
    """
    work = context.current().services.projects.delete(context.principal(), path.id, force=query.force)
    return commands.run(work, _deleted)


def _created(project: values.Project) -> unit.Answer:
    return _shown(project, 201, f"/v1/projects/{project.id}")


def _deleted(project: values.Project | None) -> unit.Answer:
    return answers.change(None, 204) if project is None else _shown(project, 202)


def _shown(project: values.Project, status: int, location: str = "") -> unit.Answer:
    return answers.change(models_projects.ProjectShape.of(project), status, project.generation, location)
