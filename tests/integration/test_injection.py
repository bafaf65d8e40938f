"""Hostile text in every text field of every request: refused by name, or stored as what it is and nothing more.

The fields are found in the contract, so that new ones are tried too. The payloads are those of shells, git, nginx, SQL,
templates, browsers, terminals, file systems and parsers; each that runs anything would leave a file behind.
"""

import asyncio
import contextlib
import copy
import dataclasses
import json
import os
import re
import urllib.parse

import argon2
import pytest

from control_plane import logs
from control_plane.api import contract
from control_plane.web import app
from tests import api_fixtures, contract_checker, running_plane

MARK = "dployr-canary"


def payloads(canary):
    """120 hostile texts; `canary` is the file that those which run make."""
    run = f"touch {canary}"
    return [
        # shells
        *(f"{head}{run}{tail}" for head, tail in (
            ("$(", ")"), ("`", "`"), ("; ", ""), ("| ", ""), ("|| ", ""), ("&& ", ""), ("& ", " &"), ("\n", "\n"),
            ("'; ", "; '"), ('"; ', '; "'), ("a;", "#"), ("a$(", ")b"), ("${IFS;", "}"), ("x'`", "`'"), (") ", " ("),
            ("{", "}"), ("\\\n", ""), ("a\r\n", "\r\n"), (">/dev/null; ", ""), ("!", ""), ("'$(", ")'"), ("\t;", ""),
        )),
        f"${{x:-$({run})}}", f"<({run})", f"$IFS;{run}", f"() {{ :;}}; {run}", f"%0a{run}", "$PATH", "~root", "*", "a b",
        "-rf /", "--help", "-", "--",
        # git
        f"ext::sh -c {run}", f"ext::{canary}", "file:///etc/passwd", f"--upload-pack={run}", f"-u{run}",
        f"--config=core.sshCommand={run}", "ssh://-oProxyCommand=touch/x", "git@host:-oProxyCommand=x", "fd::17",
        "http://user:pass@host/x", "refs/heads/../../x", "main..dev", "main@{upstream}", "HEAD^{/x}", ":/x", "a.lock",
        # nginx
        "example.com; return 200 owned", "example.com;}server{listen 9999", "a.com\nserver_name b.com", "a{b}", "_",
        "$host", "~^(.*)$", "*", "a.com#", '"a.com"', "a.com include /etc/passwd;", "a.com\\", "/ { proxy_pass http://x; }",
        "/../../etc", "/a;b{c", "/%2e%2e/",
        # SQL
        "' OR '1'='1", "'; DROP TABLE users; --", '" OR ""="', "1; SELECT load_extension('x')", "%' ESCAPE '", "x') --",
        "UNION SELECT value FROM settings", "\\'; ATTACH '/tmp/x' AS y; --",
        # templates and formats
        "{{7*7}}", "{{config}}", "{{''.__class__.__mro__[1].__subclasses__()}}", "${7*7}", "<%= 7*7 %>", "#{7*7}", "{0}",
        "{0.__class__.__init__.__globals__}", "%s%s%n", "%(password)s", "${jndi:ldap://x/a}", "{%for x in y%}",
        # browsers
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "javascript:alert(1)", "<svg/onload=alert(1)>",
        "</title><script>", "&lt;script&gt;", "\u2028\u2029", "data:text/html,<script>", "<!--", "]]>",
        # terminals and logs
        "\x1b[2J\x1b]0;owned\x07", "\x1b]8;;http://x\x07", "\r\n\r\nHTTP/1.1 200 OK", "a\nSet-Cookie: b=c", "\x9b31m",
        "x\n2026-11-24 09:30:00 [info     ] user.deleted", "\u202egnp.exe", "\ufeff", "\x7f\x08\x08", "\x0b\x0c",
        # files and parsers
        "../../../etc/passwd", "..\\..\\x", "/etc/passwd", "....//....//", "a/../../b", "C:\\x", "%2e%2e%2f", "/proc/self/environ",
        "!!python/object/apply:os.system [x]", "\nExecStart=/bin/x\n", "__proto__", "constructor.prototype", "NaN", "${env:PATH}",
        "a=b", "|/bin/x", "1e999", "\x1b[8mhidden",
    ]  # fmt: skip


# Fields with a grammar of their own: none of the payloads is one of its texts.
STRICT = {
    "DeploymentCreate": {"name", "branch", "version", "remote", "commit", "runtime", "source"},
    "DeploymentUpdate": {"branch", "version", "remote", "commit", "runtime", "source"},
    "VariableInput": {"key"},
    "VariablesInput": {"variables.0.key"},
    "RouteInput": {"domain", "redirect_to", "service_id"},
    "RoutePatch": {"redirect_to"},
    "WebhookInput": {"url", "events.0"},
    "WebhookPatch": {"url", "events.0"},
    "ProjectInput": {"name"},
}
# The nested form's names; problems are told in the flat ones.
FLAT = {"commit_hash": "commit", "url": "remote", "type": "runtime", "env_vars": "env"}
SHARE = 1 if os.environ.get("TEST_ALL") else 3  # of the payloads in paths and queries, another part of them for each
EXISTING = {"service_id": "my-app", "project": "default"}
HARMLESS = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")  # a good name
EVENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[[a-z]+ +\] ")


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(requests_per_hour=10**9, anonymous_per_hour=10**9, logins_per_minute=10**6) as pair:
        plane, client = pair
        # Hostile passwords are hashed too; what that costs is no matter here.
        plane.services.accounts.passwords._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
        logs.configure()
        facts = {"capabilities": running_plane.ABLE}
        plane.loop.run(plane.services.instances.connected(plane.instance.id, "0.1.0", "boot", facts))
        assert client.post("/v1/deployments", api_fixtures.NODE_APP).status == 201
        service = client.get("/v1/deployments/my-app").json["service_id"]
        client.put("/v1/services/my-app/env", {"variables": [{"key": "NODE_ENV", "value": "x"}]})
        client.post("/v1/proxy/routes", {"domain": "a.example.test", "service_id": service, "port": 3000})
        yield plane, client


class AtOnce:
    """The application in one thread, without a server and its sockets: twenty thousand requests take seconds.

    Its answers are held against the contract too. What HTTP makes of hostile bytes is the matter of test_edge_*.
    """

    def __init__(self, plane, client, loop):
        settings = app.HttpSettings(requests_per_hour=10**9)
        self._application = app.create_app(plane.services, loop.run_until_complete, settings).test_client()
        self._checker = contract_checker.of_app(plane.app)
        self._headers = {"Authorization": f"Bearer {client.token}"}

    def request(self, method, target, body=None):
        data = None if body is None else json.dumps(body).encode()
        with self._application.open(
            target, method=method, data=data, headers=self._headers, content_type=data and "application/json"
        ) as response:
            answer = Said(response.status_code, {k.lower(): v for k, v in response.headers}, response.data)
        self._checker.check(method, target, answer.status, answer.headers, answer.body)
        return answer


@dataclasses.dataclass(frozen=True)
class Said:
    """One answer."""

    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()


@pytest.fixture(scope="module")
def at_once(running):
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        yield AtOnce(*running, loop)
        loop.run_until_complete(loop.shutdown_default_executor())


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    return tmp_path_factory.mktemp("canary") / MARK


def is_good(label, text):
    """What is hostile elsewhere and good there."""
    return HARMLESS.fullmatch(text) or (label, text) == ("events.0", "*")


def operations(document):
    """(method, path, schema's name, a good body) of every operation that takes JSON."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            for example in content.get("examples", {}).values():
                there = {name: text for name, text in EXISTING.items() if name in example["value"]}
                yield method.upper(), path, name, example["value"] | there


def texts(schema, document, where=()):
    """The places of texts in bodies of `schema`: paths of keys; None is a key that the client chooses."""
    schema = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], schema)
    for option in [*schema.get("anyOf", []), *schema.get("oneOf", [])]:
        yield from texts(option, document, where)
    kind = schema.get("type")
    if kind == "string" or (kind is None and "enum" in schema):
        yield where
    for name, inner in schema.get("properties", {}).items():
        yield from texts(inner, document, (*where, name))
    if "items" in schema:
        yield from texts(schema["items"], document, (*where, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield (*where, None)
        yield from texts(schema["additionalProperties"], document, (*where, "KEY"))


def with_text(body, where, text):
    """`body` with `text` at `where`; what is missing on the way is made."""
    made = copy.deepcopy(body)
    here = made
    for step, following in zip(where, (*where[1:], ...), strict=True):
        if following is ...:
            break
        empty = [] if isinstance(following, int) else {}
        if isinstance(here, list):
            if not here:
                here.append(empty)
            here[0] = here[0] if isinstance(here[0], type(empty)) else empty
            here = here[0]
        else:
            if not isinstance(here.get(step), type(empty)):
                here[step] = empty
            here = here[step]
    if isinstance(here, list):
        here[:] = [text, *here[1:]]
    elif where[-1] is None:
        here[text] = "x"
    else:
        here[where[-1]] = text
    return made


def fields(document):
    """Every text field of every request, once."""
    seen = set()
    for method, path, name, body in operations(document):
        for where in texts({"$ref": f"#/components/schemas/{name}"}, document):
            if (method, path, where) not in seen:
                seen.add((method, path, where))
                yield method, path, name, body, where


def filled(path):
    known = {"{id}": "my-app", "{key}": "NODE_ENV", "{n}": "1"}
    return re.sub(r"\{[^}]+\}", lambda found: known.get(found[0], "none"), path)


def streams(document, path, method):
    """Whether an answer may come bit by bit, which takes the server."""
    return "application/x-ndjson" in json.dumps(document["paths"][path][method.lower()]["responses"])


def named(answer):
    """The fields that an error names."""
    details = answer.json["error"]["details"]
    return {str(one.get("field", "")) for one in details.get("errors", [details])}


def test_hostile_text_is_refused_by_name_or_stays_text(running, at_once, canary, capfd):
    plane, client = running
    document = plane.app.extensions[contract.EXTENSION]
    hostile = payloads(canary)
    assert len(set(hostile)) >= 120
    tried, strict = 0, set()
    for method, path, name, body, where in fields(document):
        if name in {"LoginInput", "RefreshInput", "PasswordInput"}:
            continue  # told in test_api_auth: the hash of each password takes its time
        label = ".".join("*" if step is None else str(step) for step in where)
        target = filled(path)
        if "dry_run" in json.dumps(document["paths"][path][method.lower()].get("parameters", [])) and method == "POST":
            target += "?dry_run=true"  # thousands of objects would tell nothing more
        asked = client if streams(document, path, method) else at_once
        for text in hostile:
            answer = asked.request(method, target, with_text(body, where, text))
            tried += 1
            about = f"{method} {path} {label}: {text!r}: {answer.status} {answer.text[:300]}"
            assert answer.status < 500 or answer.json["error"]["code"] == "unavailable", about
            assert answer.headers.get("content-type", "application/json") == "application/json", about
            assert answer.headers["x-content-type-options"] == "nosniff", about
            if label in STRICT.get(name, ()) and not is_good(label, text):
                strict.add((name, label))
                assert answer.status in {400, 404}, about
            if answer.status == 400:
                steps = {*map(str, where)} | {FLAT.get(str(step), "") for step in where} - {"0", ""}
                assert (
                    named(answer)
                    if None in where
                    else any(one and one in field for field in named(answer) for one in steps)
                ), about
            elif answer.status < 300 and answer.body:
                json.dumps(answer.json)
    assert tried >= len(hostile) * 100
    assert {name for name, _ in strict} >= {"DeploymentCreate", "DeploymentUpdate", "RouteInput", "VariableInput"}
    assert not canary.exists()
    assert_events(capfd.readouterr().out)


@pytest.mark.parametrize(
    ("method", "target", "field"),
    [("PUT", "/v1/deployments/my-app", "description"), ("PUT", "/v1/deployments/my-app", "run_cmd")],
)
def test_what_is_stored_comes_back_letter_by_letter(running, canary, method, target, field):
    """In JSON, with every control character escaped; a command is a shell's text by design, and nobody's here."""
    _, client = running
    stored = 0
    for text in payloads(canary):
        answer = client.request(method, target, {field: text})
        if answer.status < 300:
            stored += 1
            assert answer.json[field] in {text, text.strip()}
            shown = client.get(target)
            assert shown.json[field] in {text, text.strip()}
            assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", shown.body.rstrip(b"\n"))
    assert stored > 60
    assert not canary.exists()


def test_the_value_of_a_variable_is_a_value(running, canary):
    _, client = running
    for text in payloads(canary):
        answer = client.post("/v1/services/my-app/env?apply=next", {"key": "HOSTILE", "value": text})
        assert answer.json["value"] == text
    assert client.get("/v1/services/my-app/env/HOSTILE").json["value"] == payloads(canary)[-1]


def test_hostile_ids_queries_and_headers_find_nothing_and_run_nothing(running, at_once, canary, capfd):
    plane, client = running
    document = plane.app.extensions[contract.EXTENSION]
    for number, (path, item) in enumerate(document["paths"].items()):
        for text in payloads(canary)[number % SHARE :: SHARE]:
            quoted = urllib.parse.quote(text, safe="")
            if "{" in path:
                for method in ("get", "delete"):
                    if method in item:
                        target = re.sub(r"\{[^}]+\}", lambda _, quoted=quoted: quoted, path)
                        assert at_once.request(method.upper(), target).status < 500, (method, target)
            if "get" in item and "{" not in path:
                for name in ("cursor", "project", "name", "status", "limit", text):
                    answer = at_once.request("GET", f"{path}?{urllib.parse.quote(name, safe='')}={quoted}")
                    assert answer.status < 500, (path, name, text)
    for text in payloads(canary):
        sent = text.encode("latin-1", "ignore").decode("latin-1")
        if sent.isprintable():  # other bytes are refused before there is a request
            answer = client.get("/v1/version", X_Request_Id=sent)
            assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", answer.headers["x-request-id"])
            for header in ("If_Match", "Idempotency_Key", "Accept", "User_Agent", "X_Forwarded_For"):
                assert client.post("/v1/services/my-app/stop", **{header.replace("_", "-"): sent}).status < 500
    assert not canary.exists()
    assert_events(capfd.readouterr().out)


def assert_events(text):
    """Every line of the log is an event of ours, and no byte of it moves a terminal."""
    lines = text.splitlines()
    assert lines
    forged = [line for line in text.rstrip("\n").split("\n") if not EVENT.match(line)]
    assert forged == []
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", text)
