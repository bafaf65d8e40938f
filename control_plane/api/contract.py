"""The OpenAPI document: what the library makes of the typed views, completed by what all of them share.

Errors, quota headers and permissions come from the same tables that the server obeys, so they cannot be forgotten.
"""

import re
from typing import Any, cast

import flask
from flask_openapi.openapi import OpenAPI

from control_plane.api import access

EXTENSION = "dployr-contract"
OPENAPI_VERSION = "3.1.0"  # client generators refuse what is newer
METHODS = frozenset({"get", "put", "post", "delete", "patch"})
ERRORS = {
    "400": "A field is missing, malformed or not supported",
    "401": "No, bad or expired credentials",
    "403": "Not allowed",
    "404": "No such object",
    "405": "No such method",
    "409": "Taken, or in the wrong state",
    "413": "The body is larger than 1 MiB",
    "415": "The body is not application/json",
    "429": "Too many requests",
    "500": "An internal error",
    "503": "Not available now",
}
NEEDS_LOGIN = frozenset({"401", "403"})
NEEDS_BODY = frozenset({"413", "415"})
NEEDS_WRITE = frozenset({"409"})
QUOTA = {
    "X-RateLimit-Limit": "Requests in the window of an hour",
    "X-RateLimit-Remaining": "Requests left in it",
    "X-RateLimit-Reset": "Its end, in seconds since 1970",
}
FOLLOWED = {
    "application/x-ndjson": {"schema": {"type": "string", "description": "One JSON object per line"}},
    "text/event-stream": {"schema": {"type": "string"}},
    "text/plain": {"schema": {"type": "string"}},
}
# Content beside JSON, by path.
MORE_CONTENT: dict[str, dict[str, Any]] = {
    "/v1/services/{id}/logs": FOLLOWED,
    "/v1/deployments/{id}/releases/{n}/logs": FOLLOWED,
    "/v1/instances/{id}/metrics": {"text/plain": {"schema": {"type": "string"}}},
}


def of_current_app() -> dict[str, Any]:
    return cast("dict[str, Any]", flask.current_app.extensions[EXTENSION])


def install(app: OpenAPI) -> None:
    """Completes the document once, after every blueprint is there."""
    app.openapi_version = OPENAPI_VERSION
    document = app.api_doc
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    document["components"]["headers"] = {
        name: {"description": text, "schema": {"type": "integer"}} for name, text in QUOTA.items()
    }
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule.rule)
        for method in METHODS & {name.lower() for name in rule.methods or ()}:
            if operation := document["paths"].get(path, {}).get(method):
                _complete(operation, path, method, access.declared(app, rule.endpoint) or "")
    app.extensions[EXTENSION] = document


def _complete(operation: dict[str, Any], path: str, method: str, permission: str) -> None:
    public = permission == access.PUBLIC
    operation["security"] = [] if public else [{"bearer": []}]
    operation["x-dployr-permission"] = permission
    responses = operation["responses"]
    if "200" in responses:
        responses["200"].setdefault("content", {}).update(MORE_CONTENT.get(path, {}))
    for status in _errors(operation, method, public=public):
        responses[status] = {
            "description": ERRORS[status],
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}}},
        }
    for status, response in responses.items():
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in QUOTA}
        if status in {"429", "503"}:
            response["headers"]["Retry-After"] = {"description": "Seconds", "schema": {"type": "integer"}}


def _errors(operation: dict[str, Any], method: str, *, public: bool) -> list[str]:
    left_out = set() if operation.get("requestBody") else {"415"}
    if public and not operation.get("requestBody"):
        left_out |= NEEDS_LOGIN | NEEDS_BODY
    if public:
        left_out |= {"403"}
    if method == "get":
        left_out |= NEEDS_WRITE
    return [status for status in ERRORS if status not in left_out]
