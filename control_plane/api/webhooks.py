"""`/v1/webhooks` and their deliveries."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("webhooks", __name__, url_prefix="/v1/webhooks", abp_tags=[{"name": "webhooks"}])
