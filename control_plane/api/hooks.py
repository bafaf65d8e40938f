"""`/v1/hooks`: calls of git hosts, and `/v1/deployments/:id/hook`, which makes their addresses."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("hooks", __name__, url_prefix="/v1", abp_tags=[{"name": "hooks"}])
