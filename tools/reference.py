"""`make reference`: api.md, errors.md and failures.md of docs/reference, made from the OpenAPI document and the two tables.

A test fails while the files are not what this makes, so the reference cannot fall behind the server.
"""

import collections
import json
import pathlib
import re
import shlex
import sys
from typing import Any

from control_plane.api import contract, problems, vocabulary
from control_plane.domain import release
from control_plane.web import app
from node_agent.model import failures
from tests import api_fixtures

Json = dict[str, Any]

DIRECTORY = pathlib.Path(__file__).parent.parent / "docs" / "reference"
COMMAND = "make reference"
JSON = "application/json"
OVERDUE = (
    "The release did not get on in time, or its instance was away for too long; the control plane gave it up.",
    "See whether the instance is online, then deploy again.",
)
COMMON = frozenset({400, 405, 413, 429, 500, 503})
INTRODUCTION = f"""# REST API

*Made by `{COMMAND}` from the contract that the server shows at `GET /v1/openapi.json`; do not edit.*

[Conventions](conventions.md) says what holds everywhere: authentication, bodies, lists, limits, streams.
[Errors](errors.md) says what each error means and what to do about it; 400, 405, 413, 429, 500 and 503 can come from
every operation and are not repeated below, nor is the header `X-Request-Id`. The examples take the server's address from
`$DPLOYR` and an access token from `$TOKEN`.
"""
ERRORS = f"""# Errors

*Made by `{COMMAND}` from the table that the server obeys; do not edit.*

Every error has the same form, also that of a path that does not exist, and that of a stream before its first byte:

```json
{{
  "error": {{"code": "invalid_request", "message": "cannot …", "details": {{}}}},
  "request_id": "req_…"
}}
```

Programs read `code` and `details`; `message` is for people and may change. `request_id` is in the log of the server and
in the header `X-Request-Id`. `X-RateLimit-*` is on errors too; `Retry-After` is on 429 and 503 alone.

| status | `code` | |
|---|---|---|
"""
FAILED = f"""# Why a release failed

*Made by `{COMMAND}` from the table that the host obeys; do not edit.*

A release that cannot go live is `failed`, with a `reason` from this page and a `message` of one sentence: what happened to
what, and what to do next. `dployr get` and `GET /v1/deployments/:id/releases/:number` show both. What served before goes on.
Programs read `reason`; a newer host may give one that an older page does not have.
"""


def document() -> Json:
    """The contract of the app as it is."""
    with api_fixtures.loop_thread() as loop:
        made: Json = api_fixtures.ControlPlane(loop, app.HttpSettings()).app.extensions[contract.EXTENSION]
    return made


def files(source: Json) -> dict[pathlib.Path, str]:
    """Path → content of every generated file."""
    pages = {"api.md": api_page(source), "errors.md": errors_page(), "failures.md": failures_page()}
    return {DIRECTORY / name: text for name, text in pages.items()}


def failures_page() -> str:
    by_step = collections.defaultdict(list)
    for code, failure in failures.FAILURES.items():
        by_step[failure.step].append((code, failure.means, failure.to_do))
    by_step["Anywhere"].append((release.OVERDUE, *OVERDUE))
    parts = [FAILED]
    for step, rows in by_step.items():
        table = "\n".join(f"| `{code}` | {means} | {to_do} |" for code, means, to_do in rows)
        parts.append(f"## {step}\n\n| `reason` | | what to do |\n|---|---|---|\n{table}")
    return "\n\n".join(part.strip() for part in parts) + "\n"


def errors_page() -> str:
    texts = {status: (code, problems.TEXTS[status]) for status, code in problems.codes().items()}
    rows = [f"| {status} | [`{code}`](#{code}) | {text.meaning} |" for status, (code, text) in texts.items()]
    sections = []
    for status, (code, text) in texts.items():
        example = {"code": code, "message": text.message, "details": text.details}
        sections.append(
            f"## {code}\n\nStatus {status}. {text.meaning}\n\n**What to do:** {text.remedy}\n\n{_block({'error': example})}"
        )
    return ERRORS + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"


def api_page(source: Json) -> str:
    by_tag = collections.defaultdict(list)
    for path, item in source["paths"].items():
        for method, operation in item.items():
            by_tag[operation["tags"][0]].append((path, method, operation))
    parts = [INTRODUCTION, "## Overview\n\n| operation | | permission |\n|---|---|---|\n" + _overview(by_tag)]
    for tag in source["tags"]:
        parts.append(f"## {tag['name']}\n\n{tag['description']}")
        parts += [_operation(source, *found) for found in by_tag[tag["name"]]]
    parts.append("## Objects")
    parts += [_object(name, schema) for name, schema in sorted(_answered(source).items())]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _overview(by_tag: dict[str, list[tuple[str, str, Json]]]) -> str:
    rows = []
    for operations in by_tag.values():
        for path, method, operation in operations:
            title = f"[`{method.upper()} {path}`](#{operation['operationId']})"
            rows.append(f"| {title} | {_cell(operation['summary'])} | {_permission(operation)} |")
    return "\n".join(rows)


def _operation(source: Json, path: str, method: str, operation: Json) -> str:
    parts = [f"### {operation['operationId']}", f"`{method.upper()} {path}`", f"{operation['summary']}."]
    parts.append(operation["description"])
    parameters = [_resolved(source, parameter) for parameter in operation["parameters"]]
    shown = [_parameter(parameter) for parameter in parameters if parameter["name"] != "X-Request-Id"]
    parts.append(_table("parameter", shown))
    schema, example = _body(source, operation)
    if schema is not None:
        parts += ["Body:", _fields(schema)]
    parts.append(_answers(operation))
    parts.append(f"```sh\n{_curl(path, method, parameters, operation, example)}\n```")
    parts += [_block(answer) for answer in _examples(operation)[:1]]
    return "\n\n".join(part for part in parts if part)


def _body(source: Json, operation: Json) -> tuple[Json | None, Any]:
    """The schema and an example of what is sent."""
    content = operation.get("requestBody", {}).get("content", {}).get(JSON)
    if content is None:
        return None, None
    example = next(iter(content.get("examples", {}).values()), {}).get("value")
    return _resolved(source, content["schema"]), example


def _examples(operation: Json) -> list[Any]:
    successes = [answer for status, answer in operation["responses"].items() if status in vocabulary.SUCCESSES]
    contents = [answer.get("content", {}).get(JSON, {}) for answer in successes]
    return [example["value"] for content in contents for example in content.get("examples", {}).values()]


def _answers(operation: Json) -> str:
    lines, refused = [], []
    codes = problems.codes()
    for status, answer in sorted(operation["responses"].items()):
        if status not in vocabulary.SUCCESSES:
            refused += [] if int(status) in COMMON else [f"[{status}](errors.md#{codes[int(status)]})"]
            continue
        forms = [_form(content_type, content) for content_type, content in answer.get("content", {}).items()]
        headers = [f"`{name}`" for name in answer["headers"] if name not in vocabulary.EVERYWHERE]
        told = f" Headers: {', '.join(headers)}." if headers else ""
        lines.append(f"- **{status}** {answer['description']} {'; '.join(forms)}{told}".rstrip())
    return "Answers:\n\n" + "\n".join([*lines, *([f"- {', '.join(refused)}"] if refused else [])])


def _form(content_type: str, content: Json) -> str:
    told = content["schema"].get("description", "")
    return f"`{content_type}`: {told or _type(content['schema'])}".rstrip(": ")


def _parameter(parameter: Json) -> tuple[str, str, str]:
    kind = _type(parameter["schema"])
    default = parameter["schema"].get("default")
    told = [parameter.get("description", ""), "" if default is None else f"Default: `{json.dumps(default)}`."]
    needed = ", required" if parameter.get("required") else ""
    return f"`{parameter['name']}`", f"{parameter['in']}, {kind}{needed}", " ".join(part for part in told if part)


def _fields(schema: Json) -> str:
    required = schema.get("required", [])
    rows = []
    for name, field in schema.get("properties", {}).items():
        needed = ", required" if name in required else ""
        rows.append((f"`{name}`", f"{_type(field)}{needed}", field.get("description", "")))
    return _table("field", rows)


def _object(name: str, schema: Json) -> str:
    rows = [
        (f"`{field}`", _type(found), found.get("description", ""))
        for field, found in schema.get("properties", {}).items()
    ]
    return f"### {name}\n\n{schema.get('description', '')}\n\n{_table('field', rows)}".replace("\n\n\n\n", "\n\n")


def _answered(source: Json) -> Json:
    """The schemas that answers are made of, whole: no request's own, no part of one."""
    sent = {
        content["schema"].get("$ref", "").rpartition("/")[2]
        for item in source["paths"].values()
        for operation in item.values()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    }
    return {name: schema for name, schema in source["components"]["schemas"].items() if name not in sent}


def _table(title: str, rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = [f"| {name} | {kind} | {_cell(told)} |" for name, kind, told in rows]
    return f"| {title} | | |\n|---|---|---|\n" + "\n".join(lines)


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(option) for option in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "anything"))


def _curl(path: str, method: str, parameters: list[Json], operation: Json, example: Any) -> str:
    for parameter in parameters:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter.get("example", parameter["name"])))
    words = ["curl", *([] if method == "get" else ["-X", method.upper()]), f'"$DPLOYR{path}"']
    if operation["security"]:
        words += ["-H", '"Authorization: Bearer $TOKEN"']
    if example is not None:
        body = shlex.quote(json.dumps(example, ensure_ascii=False))
        words += ["-H", '"Content-Type: application/json"', "\\\n  -d", body]
    return " ".join(words)


def _permission(operation: Json) -> str:
    return f"`{operation['x-dployr-permission']}`"


def _resolved(source: Json, node: Json) -> Json:
    if "$ref" not in node:
        return node
    for part in node["$ref"].removeprefix("#/").split("/"):
        source = source[part]
    return source


def _block(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def links(page: str) -> list[str]:
    """Where the links of a page lead."""
    return re.findall(r"\]\(([^)]+)\)", page)


def anchors(page: str) -> set[str]:
    """What a link into a page may name."""
    return {heading.lower() for heading in re.findall(r"^#+ (\w+)$", page, re.MULTILINE)}


def main() -> int:
    for path, content in files(document()).items():
        path.write_text(content, encoding="utf-8")
        print(f"reference: wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
