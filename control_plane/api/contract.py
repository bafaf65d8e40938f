"""The OpenAPI document: what the library makes of the typed views, completed by what all of them share.

Errors, headers, permissions and preconditions come from the tables and marks that the server itself obeys, so they
cannot be forgotten; examples come from one table. What cannot be derived is missing loudly: the start fails.
"""

import inspect
import itertools
import re
from collections.abc import Callable
from typing import Any, cast

import flask
from flask_openapi.openapi import OpenAPI

from control_plane.api import access, examples, limits, mutations, plans, problems, vocabulary

EXTENSION = "dployr-contract"
OPENAPI_VERSION = "3.1.0"  # client generators refuse what is newer
METHODS = frozenset({"get", "put", "post", "delete", "patch"})
JSON = "application/json"
PLAN = {"$ref": "#/components/schemas/Plan"}
PROMETHEUS = {"text/plain": {"schema": {"type": "string", "description": "Prometheus' text format."}}}
# Content beside JSON that the parameters do not tell.
UPLOADED = {"schema": {"type": "string", "format": "binary"}}
# Bodies that are no JSON, as the one type that client generators know.
BODIES: dict[str, dict[str, Any]] = {
    "deployments_source": {"required": True, "content": {"application/octet-stream": UPLOADED}},
    "volumes_restore": {"required": True, "content": {"application/octet-stream": UPLOADED}},
}
# Answers that are streams of the objects that their view declares.
STREAMED: dict[str, dict[str, str]] = {"services_run": vocabulary.RUN}
MORE_CONTENT: dict[str, dict[str, Any]] = {"instances_metrics": PROMETHEUS}
DESCRIPTION = """\
Deploy and run applications on your own servers.

Bodies are JSON objects in UTF-8; unknown fields are refused. A list is `{"data": [...], "next_cursor": null}`; pass
`next_cursor` as `cursor` for the next page. Times are RFC 3339 in UTC. Wherever a path takes an id of something that has
a name, the name works too. Every error, also that of a path that does not exist, is an `ErrorEnvelope`."""

Json = dict[str, Any]


def of_current_app() -> Json:
    return cast("Json", flask.current_app.extensions[EXTENSION])


def install(app: OpenAPI) -> None:
    """Completes the document once, after every blueprint is there. RuntimeError when a view lacks what it needs."""
    app.openapi_version = OPENAPI_VERSION
    document = app.api_doc
    document["info"]["description"] = DESCRIPTION
    document["servers"] = [{"url": "/", "description": "Where this document was read."}]
    document["tags"] = [_tag(tag["name"]) for tag in document.get("tags", [])]
    document["components"] |= vocabulary.components()
    _add_plan(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        _untitle(schema)
    marks = _complete_all(app, document)
    for path in document["paths"]:
        _complete_etags(document["paths"], path, marks)
    app.extensions[EXTENSION] = document


def operation_id(endpoint: str) -> str:
    """`deployments.create` is `deployments_create`; the view `index` of a blueprint is its `list`."""
    blueprint, _, view = endpoint.rpartition(".")
    return f"{blueprint}_{'list' if view == 'index' else view.rstrip('_')}"


def path_of(rule: str) -> str:
    """A Flask rule as a path of the document."""
    return re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", rule)


def _tag(name: str) -> Json:
    if name not in vocabulary.TAGS:
        raise RuntimeError(f"cannot describe the tag {name!r}: add it to TAGS in control_plane/api/vocabulary.py")
    return {"name": name, "description": vocabulary.TAGS[name]}


def _add_plan(schemas: Json) -> None:
    schema = plans.Plan.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    schemas |= schema.pop("$defs")
    schemas["Plan"] = schema


def _untitle(schema: Any) -> None:
    """Takes away the titles that the library makes of names: generators make them into classes that collide."""
    if isinstance(schema, list):
        for option in schema:
            _untitle(option)
    elif isinstance(schema, dict):
        schema.pop("title", None)
        for key, value in schema.items():
            for inner in value.values() if key in {"properties", "$defs"} else [value]:
                _untitle(inner)


def _complete_all(app: OpenAPI, document: Json) -> dict[tuple[str, str], mutations.Mutation]:
    """Completes every operation; gives the marks by path and method."""
    marks = {}
    for rule in app.url_map.iter_rules():
        path = path_of(rule.rule)
        for method in METHODS & {name.lower() for name in rule.methods or ()}:
            if operation := document["paths"].get(path, {}).get(method):
                view = app.view_functions[rule.endpoint]
                operation["operationId"] = operation_id(rule.endpoint)
                mark = mutations.declared(view) or mutations.Mutation(idempotent=False)
                marks[path, method] = mark
                _body(operation, mark)
                _describe(operation, view, access.declared(app, rule.endpoint) or "", mark)
                _parametrise(operation, mark)
                counted = rule.endpoint not in limits.UNCOUNTED
                _answer(operation, document["components"]["schemas"], mark)
                wrong = _errors(operation, path, method, mark, counted=counted)
                operation["responses"] |= {str(status): vocabulary.error(status) for status in wrong}
                examples.add(operation, path, document["components"]["schemas"])
    return marks


def _describe(operation: Json, view: Callable[..., Any], permission: str, mark: mutations.Mutation) -> None:
    text = inspect.getdoc(view) or ""
    if not text.strip():
        raise RuntimeError(f"cannot describe {operation['operationId']}: give its view a docstring")
    sentence, _, more = text.partition("\n\n")
    operation["summary"] = sentence.replace("\n", " ").strip().rstrip(".")
    needs = {access.PUBLIC: "Open to everybody.", access.SIGNED_IN: "Needs a login, and no permission."}
    parts = [more.strip(), needs.get(permission, f"Needs the permission `{permission}`.")]
    if mark.if_match:
        parts.append("With `If-Match` it is carried out only while the object still has that `ETag`.")
    operation["description"] = "\n\n".join(part for part in parts if part)
    operation["security"] = [] if permission == access.PUBLIC else [{"bearer": []}]
    operation["x-dployr-permission"] = permission


def _body(operation: Json, mark: mutations.Mutation) -> None:
    if operation["operationId"] in BODIES:
        operation["requestBody"] = BODIES[operation["operationId"]]
    if mark.optional_body:
        operation["requestBody"]["required"] = False


def _parametrise(operation: Json, mark: mutations.Mutation) -> None:
    """The parameters that a mark or nothing at all stands for. One that the view reads itself stays its own."""
    parameters = operation.setdefault("parameters", [])
    for parameter in parameters:
        _untitle(parameter.get("schema"))
    own = {parameter["name"].lower() for parameter in parameters}
    wanted = {"dry_run": mark.dry_run, "Idempotency-Key": mark.idempotent, "If-Match": mark.if_match}
    names = [name for name, is_wanted in wanted.items() if is_wanted]
    parameters += [vocabulary.parameter(name) for name in (*names, "X-Request-Id") if name.lower() not in own]


def _answer(operation: Json, schemas: Json, mark: mutations.Mutation) -> None:
    """Completes the answers that are no errors."""
    answers = operation["responses"] = {key: found for key, found in operation["responses"].items() if key < "400"}
    if (described := STREAMED.get(operation["operationId"])) is not None:
        content = answers["200"]["content"]
        content.update(vocabulary.streamed(content.pop(JSON)["schema"], described))
    if mark.dry_run:
        content = answers.setdefault("200", {}).setdefault("content", {}).setdefault(JSON, {})
        content["schema"] = {"anyOf": [content["schema"], PLAN]} if "schema" in content else PLAN
    for status, answer in answers.items():
        answer["description"] = vocabulary.SUCCESSES[status]
        headers = [*vocabulary.EVERYWHERE, *(["Location"] if status == "201" else [])]
        headers += ["Idempotency-Replayed"] if mark.idempotent else []
        answer["headers"] = {name: vocabulary.header(name) for name in headers}
    content = answers.get("200", {}).get("content", {})
    content.update(MORE_CONTENT.get(operation["operationId"], {}))
    if _is_followed(operation):
        content.update(vocabulary.followed(_item_of(content[JSON]["schema"], schemas)))
        operation["parameters"].append(vocabulary.parameter("Last-Event-ID"))


def _is_followed(operation: Json) -> bool:
    return any(parameter.get("name") == "follow" for parameter in operation["parameters"])


def _item_of(schema: Json, schemas: Json) -> Json:
    """The schema of one object of a page: what a stream of them carries too."""
    page = schemas[schema["$ref"].rpartition("/")[2]]
    return cast("Json", page["properties"]["data"]["items"])


def _errors(operation: Json, path: str, method: str, mark: mutations.Mutation, *, counted: bool) -> list[int]:
    """Which errors an operation can give, of those that the server has."""
    has_body = "requestBody" in operation
    is_public = operation["security"] == []
    can_miss = "{" in path or has_body or any(parameter.get("in") == "query" for parameter in operation["parameters"])
    possible = {
        401: not is_public or has_body,
        403: not is_public,
        404: can_miss,
        409: method != "get",
        412: mark.if_match,
        415: has_body,
        422: mark.idempotent,
        429: counted,
        507: method != "get",
    }
    return [status for status in problems.codes() if possible.get(status, True)]


def _complete_etags(paths: Json, path: str, marks: dict[tuple[str, str], mutations.Mutation]) -> None:
    """An object whose change takes If-Match shows its ETag when it is read, made or changed."""
    if not any(mark.if_match for (marked, _), mark in marks.items() if marked == path):
        return
    collection = path.rpartition("/")[0]
    changed = [operation for method, operation in paths[path].items() if method != "get"]
    if "post" in paths.get(collection, {}):
        changed.append(paths[collection]["post"])
    for status, operation in itertools.product(("200", "201", "202"), changed):
        if "content" in (answer := operation["responses"].get(status, {})):
            answer["headers"]["ETag"] = {**vocabulary.HEADERS["ETag"], "required": False}  # a plan has none
    if "get" in paths[path]:
        paths[path]["get"]["responses"]["200"]["headers"]["ETag"] = vocabulary.header("ETag")
