"""Examples of every body that goes in or out, by the name of its schema, and of every id in a path.

The contract shows them, the reference is made with them, and a test holds them against their schemas. The example of a
list is made of the example of its objects.
"""

from collections.abc import Iterator
from typing import Any

from control_plane.api.examples import deployments, events, ids, instances, people, services

Json = dict[str, Any]

JSON = "application/json"
COMPONENT = "#/components/schemas/"
PARTS = (people, deployments, services, instances, events)

# What stands in a path behind the segment of that name.
PATH: dict[str, Any] = {
    "deployments": "my-app",
    "releases": 2,
    "diff": 3,
    "services": "my-app",
    "env": "NODE_ENV",
    "volumes": "data",
    "instances": "host-1",
    "routes": ids.ROUTE,
    "projects": "my-project",
    "members": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "users": "usr_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "tokens": "tok_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "webhooks": "whk_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
    "hooks": ids.DEPLOYMENT,
    "{deployment}": "8f14e45fceea167a5a36dedd4bea2543",
    "deliveries": "dlv_01JD4Y2M6T3Q8W5R7X9ZABCDEF",
}

REQUESTS: dict[str, dict[str, Json]] = {name: named for part in PARTS for name, named in part.REQUESTS.items()}
ANSWERS: dict[str, Any] = {name: value for part in PARTS for name, value in part.ANSWERS.items()}


def of_answer(name: str, schemas: Json) -> Any:
    """The example of the schema `name`; None when there is none."""
    if name in ANSWERS:
        return ANSWERS[name]
    properties = schemas.get(name, {}).get("properties", {})
    if "data" not in properties:
        return None
    item = of_answer(_name_of(properties["data"].get("items", {})), schemas)
    whole = {"data": [item], "next_cursor": None}
    return None if item is None else {key: whole[key] for key in properties if key in whole}


def add(operation: Json, path: str, schemas: Json) -> None:
    """Puts the examples of its ids, of its body and of its answers into `operation`."""
    for parameter in operation.get("parameters", []):
        before = path.partition(f"/{{{parameter.get('name')}}}")[0].rpartition("/")[2]
        if parameter.get("in") == "path" and before in PATH:
            parameter["example"] = PATH[before]
    content = operation.get("requestBody", {}).get("content", {}).get(JSON, {})
    if named := REQUESTS.get(_name_of(content.get("schema", {}))):
        content["examples"] = {name: {"value": body} for name, body in named.items()}
    for answer in operation["responses"].values():
        content = answer.get("content", {}).get(JSON, {})
        found = {name: of_answer(name, schemas) for name in _names_of(content.get("schema", {}))}
        if named := {name: {"value": value} for name, value in found.items() if value is not None}:
            content["examples"] = named


def missing(document: Json) -> list[str]:
    """What has no example: paths' ids, requests and answers, in words."""
    found = []
    for path, operations in document["paths"].items():
        for operation in operations.values():
            found += [f"{path}: {{{name}}}" for name in _ids_without(operation)]
            contents = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for where, holder in contents.items():
                content = holder.get("content", {}).get(JSON)
                if content is not None and _names_of(content["schema"]) and "examples" not in content:
                    found.append(f"{operation['operationId']}, {where}: {content['schema']}")
    return found


def _ids_without(operation: Json) -> Iterator[str]:
    for parameter in operation["parameters"]:
        if parameter.get("in") == "path" and "example" not in parameter:
            yield parameter["name"]


def _names_of(schema: Json) -> list[str]:
    """The components that a schema names: its own, or those that it chooses between."""
    names = [_name_of(option) for option in schema.get("anyOf", [schema])]
    return [name for name in names if name]


def _name_of(schema: Json) -> str:
    reference = str(schema.get("$ref", ""))
    return reference.removeprefix(COMPONENT) if reference.startswith(COMPONENT) else ""
