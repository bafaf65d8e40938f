"""The one map from an error's kind to HTTP, and the one form in which every error leaves. Nothing internal leaks."""

import http
from typing import Any

import flask
import flask_limiter
import pydantic
import structlog
from werkzeug import exceptions as http_errors

from control_plane import errors
from control_plane.api import limits, schemas, telemetry

log = structlog.get_logger()

ANSWERS: dict[errors.Kind, tuple[int, str]] = {
    errors.Kind.INVALID: (400, "invalid_request"),
    errors.Kind.UNAUTHENTICATED: (401, "unauthorized"),
    errors.Kind.FORBIDDEN: (403, "forbidden"),
    errors.Kind.NOT_FOUND: (404, "not_found"),
    errors.Kind.CONFLICT: (409, "conflict"),
    errors.Kind.RATE_LIMITED: (429, "rate_limited"),
    errors.Kind.UNAVAILABLE: (503, "unavailable"),
    errors.Kind.PRECONDITION: (412, "precondition_failed"),
    errors.Kind.MISMATCH: (422, "idempotency_mismatch"),
    errors.Kind.STORAGE: (507, "insufficient_storage"),
}
# What Flask itself refuses.
HTTP_CODES = {
    400: "invalid_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "payload_too_large",
    415: "unsupported_media_type",
}
HTTP_MESSAGES = {
    404: "cannot find this path: see /v1/openapi.json for those that exist",
    405: "cannot use this method here: see the Allow header",
    413: "cannot accept the request: the body is too large",
}
WITH_RETRY = frozenset({errors.Kind.RATE_LIMITED, errors.Kind.UNAVAILABLE})


def install(app: flask.Flask) -> None:
    app.register_error_handler(errors.DployrError, _of_dployr)
    app.register_error_handler(flask_limiter.RateLimitExceeded, _of_limit)
    app.register_error_handler(http_errors.HTTPException, _of_http)
    app.register_error_handler(Exception, _of_defect)


def envelope(status: int, code: str, message: str, details: dict[str, Any] | None = None) -> flask.Response:
    error = {"code": code, "message": message, "details": details or {}}
    response = flask.jsonify({"error": error, "request_id": flask.g.get("request_id", "")})
    response.status_code = status
    return response


def of_validation(error: pydantic.ValidationError) -> flask.Response:
    """Pydantic's findings as problems of fields. Called by the OpenAPI library."""
    problems = schemas.problems_of(error)[: errors.MAX_TOLD]
    details = dict(problems[0]) if len(problems) == 1 else {**problems[0], "errors": problems}
    listed = "; ".join(f"{problem['field']}: {problem['issue']}" for problem in problems[:5])
    status, code = ANSWERS[errors.Kind.INVALID]
    return envelope(status, code, f"Invalid request: {listed}", details)


def _of_dployr(error: errors.DployrError) -> flask.Response:
    if isinstance(error, errors.IllegalTransitionError):
        return _of_defect(error)
    status, code = ANSWERS[error.kind]
    response = envelope(status, code, error.message, error.details)
    if error.kind in WITH_RETRY:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if error.kind is errors.Kind.UNAUTHENTICATED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _of_limit(_: flask_limiter.RateLimitExceeded) -> flask.Response:
    seconds = limits.retry_after_s()
    response = envelope(429, "rate_limited", f"cannot take more requests now: try again in {seconds} s")
    response.headers["Retry-After"] = str(seconds)
    return response


def _of_http(error: http_errors.HTTPException) -> flask.Response:
    status = error.code or 500
    if error.response is not None:  # a whole answer that was raised, such as that of a failed validation
        return flask.make_response(error.response)
    if status >= 500:
        return _of_defect(error)
    message = HTTP_MESSAGES.get(status) or f"cannot accept the request: {error.description}"
    response = envelope(status, HTTP_CODES.get(status, _name(status)), message)
    if "Allow" in (headers := error.get_response().headers):
        response.headers["Allow"] = headers["Allow"]
    return response


def _name(status: int) -> str:
    return http.HTTPStatus(status).phrase.lower().replace(" ", "_")


def _of_defect(error: Exception) -> flask.Response:
    log.error(
        "request.failed", path=telemetry.shown_path(flask.request.path), method=flask.request.method, exc_info=error
    )
    return envelope(500, "internal_error", "cannot answer: an internal error, which is logged under this request id")
