"""`/v1/events` and `/v1/audit`."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("history", __name__, url_prefix="/v1", abp_tags=[{"name": "history"}])
