"""Holds every answer that a test sees against the OpenAPI document of the app that gave it.

An answer of an undocumented status, content type or shape, or without a header that the document requires, fails the
test that saw it. The objects of answers are closed here: a field that the document does not name is a fault too.
"""

import hashlib
import json
import re
import urllib.parse
from collections.abc import Mapping
from typing import Any

import jsonschema_rs

from control_plane.api import contract, problems, vocabulary

Json = dict[str, Any]
COMPONENT = re.compile(r"#/components/(\w+)/(.+)")
# What is served and is no operation of the API: pages for people.
PAGES = frozenset({"/"})
ENVELOPE = {"$ref": "#/components/schemas/ErrorEnvelope"}

_checkers: dict[str, "Checker"] = {}


def of_app(app: Any) -> "Checker | None":
    """The checker of a dployr app; None for another one. One is kept per document."""
    document = getattr(app, "extensions", {}).get(contract.EXTENSION)
    if document is None:
        return None
    key = hashlib.sha256(json.dumps(document).encode()).hexdigest()
    if key not in _checkers:
        _checkers[key] = Checker(document)
    return _checkers[key]


class Checker:
    """Judges answers by one document. Validators are made when first needed and kept."""

    def __init__(self, document: Json) -> None:
        self.document = json.loads(json.dumps(document))
        for schema in self.document["components"]["schemas"].values():
            _close(schema)
        self._paths = sorted(self.document["paths"], key=lambda path: path.count("{"))
        self._patterns = {path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)) for path in self._paths}
        self._validators: dict[str, Any] = {}

    def check(self, method: str, target: str, status: int, headers: Mapping[str, str], body: bytes | None) -> None:
        """AssertionError unless the document foresees this answer. `body` is None where it is a stream.

        `headers` have names in lower case.
        """
        answered = f"{method} {target} answered {status}"
        path = self.path_of(target)
        operation = self.document["paths"].get(path, {}).get("get" if method == "HEAD" else method.lower())
        if operation is None:
            self._check_unrouted(answered, target, status, headers, body if method != "HEAD" else None)
            return
        assert str(status) in operation["responses"], f"{answered}: the contract does not name this status"
        answer = self._resolved(operation["responses"][str(status)])
        self._check_headers(answered, answer["headers"], headers)
        self._check_body(answered, answer, headers, None if method == "HEAD" else body)

    def path_of(self, target: str) -> str:
        """The path of the document that `target` means; "" for none."""
        raw = urllib.parse.urlsplit(target).path
        return next((path for path in self._paths if self._patterns[path].fullmatch(raw)), "")

    def check_line(self, target: str, line: bytes, method: str = "GET") -> None:
        """AssertionError unless `line` of the NDJSON stream at `target` is an object of it, or its last words."""
        path, value = self.path_of(target), json.loads(line)
        content = self.document["paths"][path][method.lower()]["responses"]["200"]["content"]["application/x-ndjson"]
        last_words = isinstance(value, dict) and "error" in value
        schema = {"$ref": "#/components/schemas/ErrorBody"} if last_words else content["x-dployr-item"]
        self._validate(f"a line of {target}", schema, value["error"] if last_words else value)

    def _check_unrouted(
        self, answered: str, target: str, status: int, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        """What no operation answers is a page, or refused with the envelope."""
        if urllib.parse.urlsplit(target).path in PAGES and status < 400:
            return
        assert status in problems.codes(), f"{answered}: neither the contract nor the table of errors knows that"
        required = (*vocabulary.EVERYWHERE, *vocabulary.OF_STATUS.get(status, ()))
        self._check_headers(answered, {name: {"required": True} for name in required}, headers)
        if body is not None:
            self._validate(answered, ENVELOPE, json.loads(body))

    def _check_headers(self, answered: str, documented: Json, headers: Mapping[str, str]) -> None:
        for name, header in documented.items():
            value = headers.get(name.lower())
            rule = self._resolved(header)
            assert value is not None or not rule["required"], f"{answered} without {name}"
            if value is not None and rule.get("schema", {}).get("type") == "integer":
                assert re.fullmatch(r"\d+", value), f"{answered} with {name}: {value}, which is no whole number"
        retry = "retry-after" in headers
        assert not retry or "Retry-After" in documented, f"{answered} with Retry-After, which is for 429 and 503 alone"

    def _check_body(self, answered: str, answer: Json, headers: Mapping[str, str], body: bytes | None) -> None:
        content = answer.get("content")
        if content is None:
            assert not body, f"{answered} with a body, and the contract knows none"
            return
        sent = headers.get("content-type", "").partition(";")[0].strip()
        assert sent in content, f"{answered} as {sent!r}; the contract knows {', '.join(content)}"
        if sent == "application/json" and body is not None:
            self._validate(answered, content[sent]["schema"], json.loads(body))

    def _validate(self, answered: str, schema: Json, value: Any) -> None:
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            whole = {"allOf": [schema], "components": self.document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole)
        found = next(iter(self._validators[key].iter_errors(value)), None)
        if found is not None:
            where = ".".join(str(part) for part in found.instance_path) or "the body"
            raise AssertionError(f"{answered}, which is not what the contract says: {where}: {found.message}")

    def _resolved(self, node: Json) -> Json:
        match = COMPONENT.fullmatch(node.get("$ref", ""))
        return self.document["components"][match[1]][match[2]] if match else node


def _close(schema: Json) -> None:
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
