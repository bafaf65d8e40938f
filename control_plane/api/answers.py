"""Shapes to responses, and what a client would rather read."""

from collections.abc import Mapping

import flask

from control_plane.api import shapes

JSON = "application/json"
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
PROMETHEUS_TYPES = frozenset({"text/plain", "text/*", "application/openmetrics-text"})
JSON_TYPES = frozenset({JSON, "application/*", "*/*"})


def of(shape: shapes.Shape, status: int = 200, headers: Mapping[str, str] | None = None) -> flask.Response:
    response = flask.jsonify(shape.model_dump(mode="json", by_alias=True))
    response.status_code = status
    response.headers.update(headers or {})
    return response


def text(content: str, content_type: str = EXPOSITION) -> flask.Response:
    return flask.Response(content, content_type=content_type)


def wants_prometheus() -> bool:
    """Whether the Accept header ranks Prometheus' text above JSON. Without a preference JSON wins."""
    for accepted, _ in flask.request.accept_mimetypes:
        kind = accepted.partition(";")[0].strip().lower()
        if kind in JSON_TYPES:
            return False
        if kind in PROMETHEUS_TYPES:
            return True
    return False
