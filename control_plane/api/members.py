"""`/v1/projects/:id/members`: who is what in a project."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, models_projects, mutations, schemas
from control_plane.services import members, unit

blueprint = APIBlueprint("members", __name__, url_prefix="/v1/projects", abp_tags=[{"name": "members"}])


@blueprint.get("/<id>/members", responses={200: models_projects.MemberList})
@access.permission("member:read")
def index(path: schemas.ById, query: schemas.Page) -> flask.Response:
    """List the members of a project, the oldest membership first."""
    api = context.current()
    page = api.call(api.services.members.list(context.principal(), path.id, query.cursor, query.limit))
    data = [models_projects.MemberShape.of(member) for member in page.items]
    return answers.of(models_projects.MemberList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>/members/<user>", responses={200: models_projects.MemberShape})
@access.permission("member:read")
def get(path: models_projects.MemberPath) -> flask.Response:
    """Get a member of a project."""
    api = context.current()
    found = api.call(api.services.members.get(context.principal(), path.id, path.user))
    return answers.of(models_projects.MemberShape.of(found))


@blueprint.put("/<id>/members/<user>", responses={200: models_projects.MemberShape, 201: models_projects.MemberShape})
@access.permission("member:write")
@mutations.mutation(dry_run=True)
def put(path: models_projects.MemberPath, body: models_projects.MemberInput) -> flask.Response:
    """Give a user a role in a project; who is no member yet becomes one.

    Only an owner makes another owner or takes that role away, and one owner always stays.
    """
    work = context.current().services.members.put(context.principal(), path.id, path.user, body.role)
    project = path.id

    def shape(done: tuple[members.View, bool]) -> unit.Answer:
        member, is_new = done
        location = f"/v1/projects/{project}/members/{member.id}" if is_new else ""
        return answers.change(models_projects.MemberShape.of(member), 201 if is_new else 200, location=location)

    return commands.run(work, shape)


@blueprint.delete("/<id>/members/<user>", responses={204: None})
@access.permission("member:write")
@mutations.mutation(dry_run=True)
def remove(path: models_projects.MemberPath) -> flask.Response:
    """Take a user out of a project."""
    work = context.current().services.members.remove(context.principal(), path.id, path.user)
    return commands.run(work, lambda _: answers.change(None, 204))
