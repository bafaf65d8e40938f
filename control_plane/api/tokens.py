"""`/v1/tokens`: personal access tokens."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("tokens", __name__, url_prefix="/v1/tokens", abp_tags=[{"name": "tokens"}])
