"""`/v1/users`: the people of the installation."""

from flask_openapi.blueprint import APIBlueprint

blueprint = APIBlueprint("users", __name__, url_prefix="/v1/users", abp_tags=[{"name": "users"}])
