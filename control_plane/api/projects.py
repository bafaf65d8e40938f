"""`/v1/projects` and their members."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("projects", __name__, url_prefix="/v1/projects", abp_tags=[{"name": "projects"}])
