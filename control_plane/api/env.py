"""`/v1/services/:id/env`: variables and their history."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("env", __name__, url_prefix="/v1/services", abp_tags=[{"name": "env"}])
