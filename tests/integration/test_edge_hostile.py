"""Hostile input against every route of the URL map, also those that are added later: never a 5xx, always the envelope.

Routes, fields and good bodies are read from the app and its OpenAPI document, so nothing here names an endpoint.
"""

import copy
import json
import os
import re
import zlib

import pytest

from control_plane.api import contract
from tests import api_fixtures

QUOTA = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
JSON = {"Content-Type": "application/json"}
MANY = {"requests_per_hour": 10_000_000, "anonymous_per_hour": 10_000_000, "logins_per_minute": 1_000_000}
AWAY = ("instance", "hub")  # a 503 that says so is true here: there is no agent and no hub
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")

# Not JSON as we read it: for every reader the same thing or a 400.
BODIES = {
    "nothing": b"",
    "only space": b" \n\t",
    "not JSON": b"{nonsense",
    "half an object": b'{"name": "a"',
    "two objects": b"{}{}",
    "a list": b"[]",
    "a list of objects": b'[{"name": "a"}]',
    "a text": b'"text"',
    "a number": b"1",
    "null": b"null",
    "true": b"true",
    "a key twice": b'{"name": "a", "name": "b"}',
    "a key twice below": b'{"x": {"y": [{"z": 1, "z": 2}]}}',
    "a key twice, once escaped": b'{"name": 1, "\\u006eame": 2}',
    "many keys and one twice": b"{" + b",".join(b'"k%d": 1' % n for n in range(60_000)) + b', "k59999": 2}',
    "NaN": b'{"name": NaN}',
    "Infinity": b'{"name": Infinity}',
    "minus Infinity": b'{"name": [-Infinity]}',
    "1e400": b'{"name": 1e400}',
    "an integer of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "lists in 10,000 levels": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects in 10,000 levels": b'{"name": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    "lists in 500,000 levels": b"[" * 500_000,
    "NUL": b'{"name": "a\\u0000b"}',
    "a raw NUL": b'{"name": "a\x00b"}',
    "NUL in a key": b'{"na\\u0000me": "a"}',
    "a lone surrogate": b'{"name": "\\ud800"}',
    "a lone surrogate in a key": b'{"\\udfff": 1}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a comment": b'{"name": "a" /* b */}',
    "a comma too much": b'{"name": "a",}',
    "single quotes": b"{'name': 'a'}",
    "a form": b"name=a&b=c",
}
TYPES = (
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "a",
    "",
)
VALUES = [
    None, True, 0, -1, 1.5, 1e308, 2**31, 2**63, 2**70, -(2**70), "", " ", "x" * 70_000, "\u202e\u200b", "𐀀" * 300,
    "../../etc/passwd", "'; DROP TABLE users; --", "$(id)", "a\r\nb: c", [], [None], [[[[1]]]], {}, {"a": {"b": None}},
    {"": ""}, {"__proto__": {"x": 1}}, ["x"] * 2000,
]  # fmt: skip
SERVERS_OWN = {
    "id": "dep_mine", "status": "running", "generation": 99, "project_id": "prj_other", "created_at": "2020-01-01T00:00:00Z",
    "updated_at": "2020-01-01T00:00:00Z", "live_release": 7, "owner_id": "usr_other", "permissions": ["*"],
    "is_admin": True, "__class__": "x",
}  # fmt: skip
QUERIES = (
    "limit=abc", "limit=-1", "limit=0", "limit=1e3", "limit=99999999999999999999", "limit=", "limit=%31%30%30%30", "limit=1_0",
    "limit=%D9%A3", "cursor=nonsense", "cursor=%00", "cursor=" + "A" * 5000, "cursor=eyJhIjoxfQ", "x=%00", "x=%ff", "x=%ED%A0%80",
    "%ff=1", "=1", "&&&", "limit=1&limit=2", "project=a&project=a", "unknown=1", "tail=-5", "follow=maybe", "after_seq=-1",
    "dry_run=perhaps", "since=yesterday", "status=%0d%0aX:%20y", "project=" + "a" * 20_000, "a[]=1&a[x]=2", "name=%F0%9F%98%80",
)  # fmt: skip
SEGMENTS = (
    "..", ".", "%2e%2e", "%2f", "%2F..%2f..%2fetc", "..%2f", "%5c", "%00", "%0d%0aX:%20y", "%ff", "%ED%A0%80", "a" * 4096,
    "%F0%9F%98%80", "%E2%80%AE", "'", "%22", ";a=b", "-1", "0", "99999999999999999999", "1e3", "*", "%25", "{id}", "<id>",
    "a%20b", "%2B", "null", "None", "dep_", "__class__", "%s%n", "$(id)",
)  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Over the real store: what is stored must be what a database takes."""
    with api_fixtures.control_plane(database=tmp_path_factory.mktemp("hostile") / "db", **MANY) as pair:
        _, client = pair
        created = client.post("/v1/deployments", api_fixtures.NODE_APP).json
        client.post("/v1/proxy/routes", {"domain": "a.example.test", "service_id": created["service_id"], "port": 3000})
        yield pair


def some(items, of: str):
    """All of `items` under TEST_ALL; else a third, another one for each `of`, so that over all routes none is left out."""
    items = list(items)
    if os.environ.get("TEST_ALL"):
        return items
    start = zlib.crc32(of.encode()) % 3
    return items[start::3]


class Judge:
    """Sends, and remembers every answer that is not as it must be."""

    def __init__(self, plane, client) -> None:
        self.plane = plane
        self.port = client.port
        self.faults: list[str] = []
        self.asked = 0
        self.new_token()

    def new_token(self) -> None:
        """A hostile call may well have ended the session."""
        self.client = api_fixtures.Client(self.port, self.plane.token())

    def ask(self, method, path, body=None, headers=None, refused=None):
        """`refused`: the status that alone is right."""
        self.asked += 1
        what = f"{method} {path[:120]} {str(body)[:80]} {headers or ''}"
        try:
            answer = self.client.request(method, path, body, headers)
        except AssertionError as error:  # not as the contract says
            self.faults.append(f"{what}: {str(error)[:300]}")
            return None
        if answer.status == 401:
            self.new_token()
        if answer.status == 503 and any(word in answer.text for word in AWAY):
            return None
        if answer.status >= 500 or (refused is not None and answer.status != refused):
            self.faults.append(f"{what}: {answer.status} {answer.body[:200]!r}")
        if missing := [name for name in QUOTA if not answer.headers.get(name, "").isdigit()]:
            self.faults.append(f"{what}: {answer.status} without {missing}")
        if answer.status >= 400 and method != "HEAD":
            self._check_envelope(what, answer)
        return answer

    def _check_envelope(self, what, answer) -> None:
        try:
            found = answer.json
            assert answer.headers["content-type"] == "application/json"
            assert set(found) == {"error", "request_id"}
            assert set(found["error"]) == {"code", "message", "details"}
            assert isinstance(found["error"]["details"], dict)
            assert found["request_id"] == answer.headers["x-request-id"]
            assert ("retry-after" in answer.headers) == (answer.status in {429, 503})
        except (AssertionError, ValueError, KeyError) as error:
            self.faults.append(f"{what}: {answer.status} is no envelope: {answer.body[:200]!r} {error}")


@pytest.fixture
def judge(running):
    found = Judge(*running)
    yield found
    assert found.asked
    assert not found.faults, f"{len(found.faults)} of {found.asked}:\n" + "\n".join(found.faults[:20])


def routes(plane):
    """(method, rule as a path of the document) of every route."""
    return [
        (method, contract.path_of(rule.rule))
        for rule in plane.app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


def filled(client, path: str) -> str:
    """`path` with the first object of each collection in the place of its parameter; "1" where there is none."""
    while "{" in path:
        collection = path[: path.index("{")].rstrip("/")
        listed = client.request("GET", collection)
        data = listed.json.get("data", []) if listed.status == 200 else []
        found = next((str(item[key]) for item in data[:1] for key in ("id", "number") if key in item), "1")
        path = re.sub(r"\{[^}]+\}", found, path, count=1)
    return path


def operations_with_bodies(plane):
    """(method, path, schema, a good body) of each operation that takes JSON of ours."""
    document = plane.app.extensions[contract.EXTENSION]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content is not None:
                schema = content["schema"]
                if "$ref" in schema:
                    schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
                if schema.get("additionalProperties") is not False:
                    continue  # another's format, read as it is: a hook takes what a git host sends
                examples = [example["value"] for example in content.get("examples", {}).values()]
                yield method.upper(), path, schema, (examples or [content.get("example", {})])[0]


def test_a_body_that_is_no_json_object_is_refused_by_every_route_that_reads_one(running, judge):
    plane, client = running
    for method, path, _, _ in operations_with_bodies(plane):
        target = filled(client, path)
        for body in BODIES.values():
            answer = judge.ask(method, target, body, JSON, refused=400)
            if answer is not None and not answer.json["error"]["details"].get("field"):
                judge.faults.append(f"{method} {target} {body[:50]!r}: the 400 names no field")


def test_routes_that_read_no_body_do_not_mind_one(running, judge):
    plane, _ = running
    reading = {(method, path) for method, path, _, _ in operations_with_bodies(plane)}
    for method, path in routes(plane):
        if (method, path) not in reading:
            for body in some(BODIES.values(), method + path):
                judge.ask(method, re.sub(r"\{[^}]+\}", "1", path), body, JSON)


def test_another_type_than_json_is_a_415(running, judge):
    plane, client = running
    for method, path, _, good in operations_with_bodies(plane):
        for sent in TYPES:
            judge.ask(method, filled(client, path), json.dumps(good).encode(), {"Content-Type": sent}, refused=415)


def test_a_body_over_1_mib_is_a_413_on_every_route(running, judge):
    plane, _ = running
    big = b'{"a": "' + b"x" * (1 << 20) + b'"}'
    for method, path in routes(plane):
        if not plane.app.uploads.takes(method, target := re.sub(r"\{[^}]+\}", "1", path)):
            judge.ask(method, target, big, JSON, refused=413)


def test_wrong_types_and_values_in_every_field_never_break_a_view(running, judge):
    plane, client = running
    for method, path, schema, good in operations_with_bodies(plane):
        target = filled(client, path)
        for name in schema.get("properties", {}):
            for value in some(VALUES, path + name):
                body = copy.deepcopy(good) if isinstance(good, dict) else {}
                body[name] = value
                judge.ask(method, target, json.dumps(body).encode(), JSON)


def test_wrong_values_inside_of_objects_and_lists_never_break_a_view(running, judge):
    plane, client = running
    for method, path, _, good in operations_with_bodies(plane):
        target = filled(client, path)
        for name, inside in good.items() if isinstance(good, dict) else ():
            if isinstance(inside, dict | list) and inside:
                for value in some(VALUES, path + name):
                    body = copy.deepcopy(good)
                    body[name] = [value] if isinstance(inside, list) else dict.fromkeys(inside, value)
                    judge.ask(method, target, json.dumps(body).encode(), JSON)


def test_what_belongs_to_the_server_cannot_be_assigned(running, judge):
    plane, client = running
    for method, path, schema, good in operations_with_bodies(plane):
        for name, value in SERVERS_OWN.items():
            if name not in schema.get("properties", {}):
                body = {**(good if isinstance(good, dict) else {}), name: value}
                answer = judge.ask(method, filled(client, path), json.dumps(body).encode(), JSON, refused=400)
                if answer is not None and name not in answer.text:
                    judge.faults.append(f"{method} {path}: the 400 does not name {name}")


def test_a_query_that_makes_no_sense_never_breaks_a_view(running, judge):
    plane, _ = running
    for method, path in routes(plane):
        for query in some(QUERIES, method + path):
            judge.ask(method, f"{re.sub(r'{[^}]+}', '1', path)}?{query}")


def test_a_query_parameter_that_is_given_twice_is_a_400_that_names_it(running, judge):
    plane, _ = running
    for method, path in routes(plane):
        answer = judge.ask(method, f"{re.sub(r'{[^}]+}', '1', path)}?limit=1&a=1&limit=2", refused=400)
        if answer is not None and answer.json["error"]["details"].get("field") != "limit":
            judge.faults.append(f"{method} {path}: {answer.text}")


def test_an_id_that_is_none_never_breaks_a_view(running, judge):
    plane, _ = running
    for method, path in routes(plane):
        if "{" in path:
            for segment in some(SEGMENTS, method + path):
                judge.ask(method, re.sub(r"\{[^}]+\}", lambda _, segment=segment: segment, path), None)


def test_every_method_on_every_path_has_the_envelope(running, judge):
    plane, _ = running
    for path in sorted({path for _, path in routes(plane)} | {"/nothing", "/v1", "/v1/", "/favicon.ico", "/static/x"}):
        target = re.sub(r"\{[^}]+\}", "nothing", path)
        for method in METHODS:
            judge.ask(method, target)
        judge.ask("GET", f"{target}/nothing/more")
        judge.ask("GET", target.upper())


def test_odd_headers_never_break_a_view(running, judge):
    plane, _ = running
    odd = {
        "Accept": ["", "*", "nonsense", "a/b;q=x", "text/plain;version=9", "x" * 8000, "application/json;q=0"],
        "Accept-Language": ["\xff" * 50],
        "Authorization": ["Bearer", "Basic ====", "Bearer " + "x" * 20_000, "\xff"],
        "Content-Length": ["0"],
        "Host": ["", "a:b:c", "[::1", "x" * 5000, "a b", "\xff"],
        "Idempotency-Key": ["", " ", "x" * 5000, "\xff", "a,b"],
        "If-Match": ["", "*", '"', '"a"', 'W/"1"', "1", '"99999999999999999999"', "\xff", '"1", "2"'],
        "Last-Event-ID": ["", "-1", "x", "9" * 400, "\xff"],
        "X-Forwarded-For": ["", ",,,", "nonsense", "1.1.1.1" * 500],
        "X-Request-Id": ["", "\xff", "x" * 5000, "a b"],
        "Range": ["bytes=0-0", "bytes=-1", "x"],
        "If-None-Match": ["*", '"'],
        "If-Modified-Since": ["yesterday"],
        "Cookie": ["a=b; c", ";;;", "\xff"],
    }  # fmt: skip
    for method, path in routes(plane):
        for name, found in odd.items():
            for value in some(found, method + path + name):
                judge.ask(method, re.sub(r"\{[^}]+\}", "1", path), headers={name: value})
