"""`/v1/audit`: who did what, when and from where."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, context, models_history
from control_plane.domain import moment, values

blueprint = APIBlueprint("audit", __name__, url_prefix="/v1/audit", abp_tags=[{"name": "audit"}])


@blueprint.get("", responses={200: models_history.AuditPage})
@access.permission("audit:read")
def index(query: models_history.AuditQuery) -> flask.Response:
    """List the audit, newest first: of the projects that you administer; for operators all of it.

    Nothing in it is ever changed or deleted. Each entry's hash covers the entry before it, and
    `dployr-control-plane audit verify` holds the whole chain against them.
    """
    wanted = values.AuditQuery(
        actor=query.actor or "",
        action=query.action or "",
        target=query.target or "",
        since=moment.maybe(query.since, "since"),
        until=moment.maybe(query.until, "until"),
    )
    api = context.current()
    page = api.call(api.services.history.audit(context.principal(), wanted, query.project, query.cursor, query.limit))
    data = [models_history.AuditShape.of(entry) for entry in page.items]
    return answers.of(models_history.AuditPage(data=data, next_cursor=page.next_cursor))
