"""`/v1/webhooks` and their deliveries."""

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane.api import access, answers, commands, context, mutations, schemas
from control_plane.api import models_webhooks as models
from control_plane.domain import values, webhook
from control_plane.services import unit

blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1/webhooks", abp_tags=[{"name": "webhooks"}])


@blueprint.get("", responses={200: models.WebhookList})
@access.permission("webhook:read")
def index(query: models.WebhooksQuery) -> flask.Response:
    """List webhooks, oldest first."""
    api = context.current()
    page = api.call(api.services.webhooks.list(context.principal(), query.project, query.cursor, query.limit))
    data = [models.WebhookShape.of(hook) for hook in page.items]
    return answers.of(models.WebhookList(data=data, next_cursor=page.next_cursor))


@blueprint.post("", responses={201: models.WebhookShape})
@access.permission("webhook:write")
@mutations.mutation()
def create(body: models.WebhookInput) -> flask.Response:
    """Have events sent to an address; `events` are names, `deployment.*` and the like, or `*`."""
    work = context.current().services.webhooks.create(context.principal(), body.fields())
    return commands.run(work, _created)


@blueprint.get("/<id>", responses={200: models.WebhookShape})
@access.permission("webhook:read")
def get(path: schemas.ById) -> flask.Response:
    """Get a webhook."""
    api = context.current()
    found = api.call(api.services.webhooks.get(context.principal(), path.id))
    return answers.of(models.WebhookShape.of(found), headers=answers.etag(found.generation))


@blueprint.patch("/<id>", responses={200: models.WebhookShape})
@access.permission("webhook:write")
@mutations.mutation(if_match=True)
def update(path: schemas.ById, body: models.WebhookPatch) -> flask.Response:
    """Change a webhook, or disable and enable it."""
    work = context.current().services.webhooks.update(context.principal(), path.id, body.changes())
    return commands.run(work, lambda hook: answers.change(models.WebhookShape.of(hook), 200, hook.generation))


@blueprint.delete("/<id>", responses={204: None})
@access.permission("webhook:write")
@mutations.mutation(if_match=True)
def delete(path: schemas.ById) -> flask.Response:
    """Delete a webhook with its deliveries."""
    work = context.current().services.webhooks.delete(context.principal(), path.id)
    return commands.run(work, lambda _: answers.change(None, 204))


@blueprint.post("/<id>/test", responses={202: models.DeliveryShape})
@access.permission("webhook:write")
@mutations.mutation()
def test(path: schemas.ById) -> flask.Response:
    """Send the event `webhook.test` to this webhook alone."""
    return commands.run(context.current().services.webhooks.test(context.principal(), path.id), _queued)


@blueprint.get("/<id>/deliveries", responses={200: models.DeliveryList})
@access.permission("webhook:read")
def deliveries(path: schemas.ById, query: models.DeliveriesQuery) -> flask.Response:
    """List what was sent and what waits, newest first, with every attempt."""
    api = context.current()
    found = api.services.webhooks.deliveries(context.principal(), path.id, query.cursor, query.limit, query.status)
    return answers.of(models.DeliveryList.of(api.call(found)))


@blueprint.post("/<id>/deliveries/<delivery>/redeliver", responses={202: models.DeliveryShape})
@access.permission("webhook:write")
@mutations.mutation()
def redeliver(path: models.DeliveryPath) -> flask.Response:
    """Send the event of a delivery once more, under the same event id."""
    work = context.current().services.webhooks.redeliver(context.principal(), path.id, path.delivery)
    return commands.run(work, _queued)


def _created(made: tuple[values.Webhook, str]) -> unit.Answer:
    hook, secret = made
    return answers.change(models.WebhookShape.of(hook, secret), 201, hook.generation, f"/v1/webhooks/{hook.id}")


def _queued(delivery: webhook.Delivery) -> unit.Answer:
    return answers.change(models.DeliveryShape.of(delivery), 202)
