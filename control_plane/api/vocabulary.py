"""The parts of the OpenAPI document that operations share: tags, headers, parameters, and one response per error."""

from typing import Any

from control_plane.api import problems

Json = dict[str, Any]

SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token from `POST /v1/auth/login`, or a personal access token.",
    }
}
TAGS = {
    "auth": "Log in, and stay logged in.",
    "tokens": "Personal access tokens, for programs.",
    "users": "Who may log in.",
    "projects": "What deployments belong to.",
    "members": "Who may do what in a project.",
    "deployments": "What you declare, and its releases.",
    "services": "What runs.",
    "env": "The environment variables and secrets of a service.",
    "volumes": "Directories of a service that outlive its releases.",
    "instances": "The hosts, and what they measure.",
    "routes": "Domains that are sent to services.",
    "webhooks": "Calls to you when something happens.",
    "hooks": "Calls from git hosts that deploy.",
    "events": "Everything that happens, in order.",
    "audit": "Who did what, when and from where.",
    "system": "The control plane itself.",
}
WHOLE = {"type": "integer"}
TEXT = {"type": "string"}
HEADERS: dict[str, Json] = {
    "X-RateLimit-Limit": {"description": "Requests in a window of an hour.", "required": True, "schema": WHOLE},
    "X-RateLimit-Remaining": {"description": "Requests left in it.", "required": True, "schema": WHOLE},
    "X-RateLimit-Reset": {"description": "Its end, in seconds since 1970.", "required": True, "schema": WHOLE},
    "X-Request-Id": {
        "description": "The id of this request in the log: yours, or one that was made.",
        "required": True,
        "schema": TEXT,
    },
    "Retry-After": {"description": "Seconds to wait.", "required": True, "schema": WHOLE},
    "Location": {"description": "The path of what was created.", "required": True, "schema": TEXT},
    "ETag": {
        "description": "The generation of the object, for `If-Match`.",
        "required": True,
        "schema": TEXT,
        "example": '"3"',
    },
    "Idempotency-Replayed": {
        "description": "`true` when this is the stored answer to an earlier request with the same key.",
        "required": False,
        "schema": {"enum": ["true"]},
    },
    "Allow": {"description": "The methods of this path.", "required": True, "schema": TEXT},
    "WWW-Authenticate": {"description": "How to authenticate.", "required": True, "schema": TEXT},
}
EVERYWHERE = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "X-Request-Id")
OF_STATUS = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}
PARAMETERS: dict[str, Json] = {
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "An id for this request, of 1 to 64 characters `A-Z a-z 0-9 . _ -`. It is logged and returned; "
        "any other text is replaced by one that is made.",
        "schema": TEXT,
        "example": "req_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A text of your own that names this change. Repeated within 24 hours with the same body, the "
        "request is answered with the stored answer and nothing is done twice.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
        "example": "deploy-my-app-2026-11-24",
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "The `ETag` that the object must still have; or several; or `*` for any.",
        "schema": {"type": "string", "pattern": '^(\\*|"[0-9]{1,18}"(, ?"[0-9]{1,18}")*)$'},
        "example": '"3"',
    },
    "Last-Event-ID": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The `id` of the last server-sent event that arrived: a stream goes on behind it.",
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        "example": "41",
    },
    "dry_run": {
        "name": "dry_run",
        "in": "query",
        "description": "Check and authorise only, and answer with what would change. Nothing is written.",
        "schema": {"type": "boolean", "default": False},
        "example": False,
    },
}
SUCCESSES = {
    "200": "Done.",
    "201": "Created; `Location` says where.",
    "202": "Accepted; the work follows.",
    "204": "Done; there is no body.",
}
# What a followed log or list of events is sent as, beside the page of JSON.
FOLLOWED = {
    "application/x-ndjson": "With `follow=true`: one JSON object per line, as it happens. Empty lines keep the "
    'connection alive. A line `{"error": {…}}` ends a stream that ends early.',
    "text/event-stream": "With `follow=true`: server-sent events; `id` resumes by `Last-Event-ID`, `data` is the JSON "
    "object. Comments keep the connection alive. An event named `error` ends a stream that ends early.",
    "text/plain": "With `follow=true`: lines for people.",
}

# What a one-off command writes.
RUN = {
    "application/x-ndjson": "One JSON object per piece, as it is written; the last one has `exit`. Empty lines keep the "
    'connection alive. A line `{"error": {…}}` ends a stream that ends early.',
    "text/event-stream": "Server-sent events whose `data` is the JSON object.",
    "text/plain": "The text itself, then a line that says how the command ended.",
}
BYTES = "application/octet-stream"  # the one type of bytes that client generators know
ARCHIVE_TYPES = ("application/gzip", "application/zstd", "application/zip", BYTES)


def header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def parameter(name: str) -> Json:
    return {"$ref": f"#/components/parameters/{name}"}


def error(status: int) -> Json:
    return {"$ref": f"#/components/responses/{problems.codes()[status]}"}


def components() -> Json:
    """What goes under `components`, beside the schemas."""
    return {
        "securitySchemes": SECURITY,
        "headers": HEADERS,
        "parameters": PARAMETERS,
        "responses": {code: _error_response(status, code) for status, code in problems.codes().items()},
    }


def _error_response(status: int, code: str) -> Json:
    problem = problems.TEXTS[status]
    example = {
        "error": {"code": code, "message": problem.message, "details": problem.details},
        "request_id": "req_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    }
    return {
        "description": f"`{code}`: {problem.meaning} {problem.remedy}",
        "headers": {name: header(name) for name in (*EVERYWHERE, *OF_STATUS.get(status, ()))},
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ErrorEnvelope"},
                "examples": {code: {"value": example}},
            }
        },
    }


def followed(item: Json) -> Json:
    """The content of a stream whose objects have the schema `item`."""
    return streamed(item, FOLLOWED)


def streamed(item: Json, described: dict[str, str]) -> Json:
    """Content by type as `described`; that its objects are `item`, OpenAPI 3.1 cannot say but in an extension."""
    made: Json = {}
    for content_type, description in described.items():
        made[content_type] = {"schema": {"type": "string", "description": description}}
        if content_type != "text/plain":
            made[content_type]["x-dployr-item"] = item
    return made
