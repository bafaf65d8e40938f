"""`/v1/hooks`: calls of git hosts, and `/v1/deployments/:id/hook`, which makes their addresses."""

import hashlib
import urllib.parse
from typing import Any

import flask
from flask_openapi.blueprint import APIBlueprint
from werkzeug import exceptions as http_errors

from control_plane import errors
from control_plane.api import access, answers, commands, context, models_hooks, mutations, requests, schemas
from control_plane.domain import push
from control_plane.services import hooks, unit

blueprint = APIBlueprint("hooks", __name__, url_prefix="/v1", abp_tags=[{"name": "hooks"}])

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@blueprint.get("/deployments/<id>/hook", responses={200: models_hooks.HookShape})
@access.permission("deployment:read")
def get(path: schemas.ById) -> flask.Response:
    """Get whether a deployment has a hook, and its address without the token."""
    api = context.current()
    shown = api.call(api.services.hooks.get(context.principal(), path.id))
    return answers.of(models_hooks.HookShape.of(shown), headers=answers.etag(shown.deployment.generation))


@blueprint.post("/deployments/<id>/hook", responses={201: models_hooks.NewHook})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def create(path: schemas.ById) -> flask.Response:
    """Make the hook of a deployment, or a new token and secret for it; this answer alone shows them.

    The token and the secret in the answer to a dry run are never good for anything.
    """
    return commands.run(context.current().services.hooks.create(context.principal(), path.id), _made)


@blueprint.delete("/deployments/<id>/hook", responses={204: None})
@access.permission("deployment:write")
@mutations.mutation(if_match=True, dry_run=True)
def delete(path: schemas.ById) -> flask.Response:
    """Delete the hook of a deployment: pushes are seen when the branch is looked at next."""
    work = context.current().services.hooks.delete(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


@blueprint.post(
    "/hooks/<deployment>/<token>",
    responses={202: models_hooks.HookResult},
    request_body=models_hooks.PUSH,
)
@access.permission.public
@mutations.mutation(idempotent=False)
def receive(path: models_hooks.HookPath) -> flask.Response:
    """Take a push from a git host: a release of the pushed commit when the branch is that of the deployment.

    The body is signed with the hook's secret (`X-Hub-Signature-256`, `X-Gitea-Signature`, `webhook-signature`) or comes
    with it (`X-Gitlab-Token`). The same delivery is answered as before and deploys nothing twice.
    """
    commands.check_marks()
    api = context.current()
    call = push.Call({name.lower(): text for name, text in flask.request.headers.items()}, flask.request.get_data())
    api.call(api.services.hooks.authenticate(path.deployment, path.token, call))
    payload = payload_of(flask.request.mimetype, call.body)
    asked = unit.Request(f"hook:{path.deployment}", "hooks.receive", fingerprint="", key=_digest(call.delivery))
    work = api.services.hooks.receive(path.deployment, path.token, call, payload)
    answer, _ = api.call(api.services.changes.run(asked, work, _taken))
    return answers.of_answer(answer, {})


def payload_of(mimetype: str, body: bytes) -> dict[str, Any]:
    """The event, from either form in which git hosts send it. Raises UnsupportedMediaType and InvalidError."""
    if mimetype == FORM:
        try:
            fields = urllib.parse.parse_qs(body.decode(), strict_parsing=True, max_num_fields=10)
        except ValueError:
            fields = {}
        given = fields.get("payload", [])
        if len(given) != 1:
            raise errors.InvalidError.field("cannot read the push: its form has no payload", "payload", "is required")
        return requests.parse(given[0].encode("utf-8", "replace"))
    if mimetype != JSON:
        raise http_errors.UnsupportedMediaType(f"send the push as {JSON}, or as {FORM} with the field payload")
    return requests.parse(body)


def _digest(delivery: str) -> str:
    return hashlib.sha256(delivery.encode()).hexdigest()


def _made(new: hooks.NewHook) -> unit.Answer:
    location = f"/v1/deployments/{new.deployment.id}/hook"
    return answers.change(models_hooks.NewHook.of(new), 201, new.deployment.generation, location)


def _taken(outcome: hooks.Outcome) -> unit.Answer:
    return answers.change(models_hooks.HookResult.of(outcome), 202)
