"""Secrets never leave: one of each kind is planted in a real control plane, and then everything is searched.

FIELDS is the table of secrets: how each gets in, and the few places where it may be found. One whose endpoint or field
does not exist in the contract is skipped by name. What is searched: every answer (head and body) of every operation in
every manner of success and failure, the log, the database with its journal and a backup, every other file of the data
directory, and what other processes can see.
"""

import asyncio
import base64
import contextlib
import dataclasses
import json
import pathlib
import re
import secrets
import sqlite3
import subprocess
import urllib.parse
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from control_plane import store
from control_plane.clock import SystemClock
from control_plane.store import migrate
from dployr.stack.addresses import free_port
from tests import pushes, running_plane

APP = {
    "name": "my-app", "source": "remote", "runtime": "nodejs", "version": "20", "branch": "main", "port": 3000,
    "remote": "https://github.com/user/repo", "build_cmd": "npm install", "run_cmd": "npm start",
}  # fmt: skip
ENV = "/v1/services/my-app/env"
KEY_FILE = "file control-plane.db.keys"


class MissingError(Exception):
    """The contract has no such operation or field (yet)."""


class World:
    """The running control plane, its contract, and the helpers of the table."""

    def __init__(self, plane):
        self.plane = plane
        self.document = plane.must("GET", "/v1/openapi.json")

    def needs(self, method, path, field=""):
        """MissingError unless the contract has the operation, and the field in its body."""
        operation = self.document["paths"].get(path, {}).get(method.lower())
        if operation is None:
            raise MissingError(f"there is no {method} {path}")
        if field and field not in json.dumps(self.schema_of(operation)):
            raise MissingError(f"{method} {path} takes no {field}")

    def schema_of(self, operation):
        schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        name = schema.get("$ref", "").rpartition("/")[2]
        return self.document["components"]["schemas"].get(name, schema)

    def abuse(self, method, path, body, secret):
        """The same request in every manner in which it can fail, so that every kind of error is among the answers."""
        call = self.plane.call
        text = json.dumps(body)
        call(method, f"{path}?dry_run=true", body)
        call(method, path, {**body, "unknown_field": secret})
        call(method, path, json.loads(text.replace(json.dumps(secret), json.dumps([secret]))))
        call(method, path, json.loads(text.replace(json.dumps(secret), json.dumps({secret: secret}))))
        call(method, path, json.loads(text.replace(json.dumps(secret), json.dumps("\u0001" + secret))))
        call(method, path, text.encode()[:-1])
        call(method, path, text.encode() + b"x")
        call(method, path, text.encode(), {"Content-Type": "text/plain"})
        call(method, path, text[:-1].encode() + b"," + text[1:].encode())
        call(method, path, body, {"If-Match": '"999"'})
        call(method, path, body, {"Idempotency-Key": "no spaces allowed"})
        call(method, path, body, token="")
        call(method, path, body, token=secret)
        call("TRACE", path, body)
        call(method, path + "/nothing", body)
        call(method, path, text.replace(secret, secret * 20_000).encode())

    def twice(self, method, path, body):
        """The request with a key, its repetition, and the key with another body. The first answer."""
        key = {"Idempotency-Key": secrets.token_hex(8)}
        first = self.plane.call(method, path, body, key)
        assert first.status < 300, (path, first.status, first.body[:400])
        self.plane.call(method, path, body, key)
        self.plane.call(method, path, {**body, "description": "another"}, key)
        return first


def canary(name):
    return f"canary{name}{secrets.token_hex(12)}"


def in_body(method, path, body_of, field=""):
    """A secret of the client's own, in the body of a request that may be repeated."""

    def plant(world):
        template = re.sub(r"/(my-app|A_KEY)(?=/|$)", "/{id}", path)
        world.needs(method, template, field)
        secret = canary(field or "value")
        body = body_of(secret)
        world.abuse(method, path, body, secret)
        world.twice(method, path, body)
        return [secret]

    return plant


def password(world):
    world.needs("POST", "/v1/users", "password")
    first, second = canary("first"), canary("second")
    body = {"email": "ada@example.test", "password": first}
    world.twice("POST", "/v1/users", body)
    world.abuse("POST", "/v1/users", body, first)  # behind it: one of these passwords is odd, and a good one
    world.plane.call("POST", "/v1/users", body)
    login = {"email": "ada@example.test", "password": first}
    token = world.plane.must("POST", "/v1/auth/login", login)["access_token"]
    for change in ({"current": second, "new": first}, {"current": first, "new": second}):
        answer = world.plane.call("PUT", "/v1/auth/password", change, token=token)
    assert answer.status == 204
    return [first, second]


def wrong_password(world):
    secret = canary("wrong")
    for email in (running_plane.EMAIL, "nobody@example.test"):
        world.plane.call("POST", "/v1/auth/login", {"email": email, "password": secret})
    world.abuse("POST", "/v1/auth/login", {"email": running_plane.EMAIL, "password": secret}, secret)
    return [secret]


def access_and_refresh(world):
    answer = world.plane.must(
        "POST", "/v1/auth/login", {"email": running_plane.EMAIL, "password": world.plane.password}
    )
    found = [answer["access_token"], answer["refresh_token"]]
    renewed = world.plane.call("POST", "/v1/auth/refresh", {"refresh_token": found[1]})
    found += [renewed.json["access_token"], renewed.json["refresh_token"]]
    world.plane.call("POST", "/v1/auth/refresh", {"refresh_token": found[1]})
    world.plane.call("GET", "/v1/auth/me", token=found[2])
    world.plane.call("POST", "/v1/auth/refresh", {"refresh_token": found[2]})
    return found


def personal_token(world):
    world.needs("POST", "/v1/tokens")
    answer = world.plane.must("POST", "/v1/tokens", {"name": "ci"})
    found = next(value for value in answer.values() if isinstance(value, str) and value.startswith("pat_"))
    world.plane.call("GET", "/v1/deployments", token=found)
    world.plane.call("GET", "/v1/deployments", token=found[:-1])
    return [found]


def join_token(world):
    world.needs("POST", "/v1/instances/join-tokens")
    answer = world.plane.must("POST", "/v1/instances/join-tokens")
    secret = re.search(r"[0-9a-f]{64}", json.dumps(answer))
    assert secret, answer
    return [secret[0]]


def hook_token_and_secret(world):
    world.needs("POST", "/v1/deployments/{id}/hook")
    found = []
    for _ in range(2):
        made = world.plane.must("POST", "/v1/deployments/my-app/hook", None, {"Idempotency-Key": secrets.token_hex(8)})
        path = urllib.parse.urlsplit(made["url"]).path
        sent = pushes.from_github(made["secret"], delivery=secrets.token_hex(8))
        assert world.plane.call("POST", path, sent.body, sent.headers, token="").status == 202
        for broken in (path + "/", path + "/x", path.replace("hooks/", "hooks//"), path[:-1], f"/{path}"):
            world.plane.call("POST", broken, sent.body, sent.headers, token="")
        world.plane.call("POST", path, b"{", sent.headers, token="")
        gitlab = pushes.from_gitlab(made["secret"], {"ref": made["secret"]}, delivery=secrets.token_hex(8))
        world.plane.call("POST", path, gitlab.body, gitlab.headers, token="")
        world.plane.call("GET", path, token="")
        found += [path.rpartition("/")[2], made["secret"]]
    world.plane.call("GET", "/v1/deployments/my-app/hook")
    return found


def made_webhook_secret(world):
    world.needs("POST", "/v1/webhooks")
    answer = world.plane.must("POST", "/v1/webhooks", {"url": "https://example.com/made", "events": ["*"]})
    assert answer["secret"]
    return [answer["secret"]]


def tls_key(world):
    world.needs("POST", "/v1/proxy/routes", "tls")
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    secret = key.decode().splitlines()[1]
    body = {
        "domain": "tls.example.test", "service_id": "my-app", "port": 3000,
        "tls": {"certificate": "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n", "key": key.decode()},
    }  # fmt: skip
    world.plane.call("POST", "/v1/proxy/routes", body, {"Idempotency-Key": secrets.token_hex(8)})
    world.plane.call("POST", "/v1/proxy/routes?dry_run=true", body)
    world.plane.call("POST", "/v1/proxy/routes", {**body, "unknown": 1})
    world.plane.call("POST", "/v1/proxy/routes", {**body, "tls": {**body["tls"], "key": [key.decode()]}})
    return [secret]


def a_route(secret):
    return {"domain": "basic.example.test", "service_id": "my-app", "port": 3000, "basic_auth": {"ada": secret}}


def env_that_became_secret(world):
    """Its value was readable before: it must not be anywhere afterwards, but in what was answered before."""
    secret = canary("became")
    world.plane.must("POST", ENV, {"key": "BECAME", "value": "before"})
    world.plane.must("POST", ENV, {"key": "BECAME", "value": secret, "secret": True})
    world.plane.call("POST", ENV, {"key": "BECAME", "secret": False})
    world.plane.must("POST", ENV, {"key": "BECAME", "value": "after", "secret": False})
    return [secret]


def plain_env(world):
    """No secret: it can be read. But the environment is sealed as a whole, so no file shows it, nor does the log."""
    secret = canary("plain")
    world.plane.must("POST", ENV, {"key": "PLAIN", "value": secret})
    world.plane.must("PUT", "/v1/deployments/my-app", {"env": {"PLAIN": secret + "2", "PLAIN_TOO": secret}})
    world.plane.call("PUT", "/v1/deployments/my-app?dry_run=true", {"env": {"PLAIN": secret}})
    return [secret]


def deleted_env(world):
    secret = canary("deleted")
    world.plane.must("POST", ENV, {"key": "DELETED", "value": secret, "secret": True})
    world.plane.must("DELETE", f"{ENV}/DELETED")
    return [secret]


def signing_and_sealing(_world):
    """Read from the files at the end: see `evidence`."""
    return []


@dataclasses.dataclass(frozen=True)
class Field:
    """A secret, how it is planted, and the places (see `places`) where it may be found, as regular expressions."""

    name: str
    plant: Callable[[World], list[str]]
    allowed: tuple[str, ...] = ()


FIELDS = [
    Field("env secret", in_body("POST", ENV, lambda secret: {"key": "A_KEY", "value": secret, "secret": True}, "value")),
    Field(
        "env secret, in bulk",
        in_body("PUT", ENV, lambda secret: {"variables": [{"key": "A_KEY", "value": secret, "secret": True}]}, "variables"),
    ),
    Field("env that became a secret", env_that_became_secret),
    Field("env secret that was deleted", deleted_env),
    Field("env that is no secret", plain_env, (r"answer (GET|POST|PUT|HEAD|PATCH|DELETE) /v1/(deployments|services)(/.*)?",)),
    Field("secrets", in_body("PUT", "/v1/deployments/my-app", lambda secret: {"secrets": {"B": secret}}, "secrets")),
    Field("git_token", in_body("PUT", "/v1/deployments/my-app", lambda secret: {"git_token": secret}, "git_token")),
    Field(
        "webhook secret",
        in_body(
            "POST", "/v1/webhooks",
            lambda secret: {"url": "https://example.com/w", "events": ["*"], "secret": secret}, "secret",
        ),
    ),
    Field("webhook secret that was made", made_webhook_secret, (r"answer POST /v1/webhooks",)),
    Field("hook token and secret", hook_token_and_secret, (r"answer POST /v1/deployments/my-app/hook",)),
    Field("basic_auth password", in_body("POST", "/v1/proxy/routes", a_route, "basic_auth")),
    Field("tls key", tls_key),
    Field("password", password),
    Field("access and refresh token", access_and_refresh, (r"answer POST /v1/auth/(login|refresh)",)),
    Field("personal access token", personal_token, (r"answer POST /v1/tokens",)),
    Field("join token", join_token, (r"answer POST /v1/instances/join-tokens",)),
    Field("wrong password", wrong_password),  # the last one that logs in: it is throttled then
    Field("signing key", signing_and_sealing),
    Field("sealing key", signing_and_sealing, (KEY_FILE,)),
]  # fmt: skip

# Ids for the paths of the contract, by the name that stands before them.
IDS = {"deployments": "my-app", "services": "my-app", "instances": "host-1", "projects": "default", "env": "A_KEY"}


def read_everything(plane, document):
    """Every GET of the contract, of what exists, with and without a login, in every form."""
    for path, item in document["paths"].items():
        if "get" in item:
            for target in targets_of(plane, path):
                for headers in ({}, {"Accept": "text/plain"}, {"Accept": "application/openmetrics-text"}):
                    plane.call("GET", target, headers=headers)
                plane.call("GET", f"{target}?limit=2")
                plane.call("GET", f"{target}?cursor=bad")
                plane.call("GET", target, token="")
                plane.call("HEAD", target)


def targets_of(plane, path):
    """The path with ids in it: of each list what it holds, and of numbers the first three."""
    targets = [""]
    for segment in path.split("/")[1:]:
        if not segment.startswith("{"):
            targets = [f"{target}/{segment}" for target in targets]
            continue
        grown = []
        for target in targets:
            kind = target.rpartition("/")[2]
            found = [IDS[kind]] if kind in IDS else ids_of(plane, target)
            grown += [f"{target}/{one}" for one in found or ["1"]]
        targets = grown
    return targets[:12]


def ids_of(plane, target):
    if target.rpartition("/")[2] in {"releases", "diff"}:
        return ["1", "2", "3"]
    answer = plane.call("GET", target)
    if answer.status != 200:
        return []
    return [one["id"] for one in answer.json.get("data", [])[:3] if "id" in one]


@dataclasses.dataclass
class Evidence:
    """`planted`: field → its secrets, or why there are none. `places`: where → every byte of it."""

    planted: dict[str, list[str] | str]
    places: dict[str, bytes]


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    directory = tmp_path_factory.mktemp("canary")
    with running_plane.running(directory, free_port()) as plane:
        world = World(plane)
        plane.must("POST", "/v1/deployments", APP)
        planted: dict[str, list[str] | str] = {}
        for field in FIELDS:
            try:
                planted[field.name] = field.plant(world)
            except MissingError as error:
                planted[field.name] = str(error)
        plane.must("PUT", "/v1/deployments/my-app", {"description": "another"})
        plane.call("POST", "/v1/deployments", APP)
        plane.call("POST", "/v1/deployments/my-app/redeploy")
        read_everything(plane, world.document)
        places = outside(plane.process.pid)
        database = plane.data / "control-plane.db"
        migrate.back_up(database, directory / "backup")
        places |= files(plane.data) | {"backup": (directory / "backup").read_bytes()}
        plane.stop()
        places |= {f"{name}, after the stop": content for name, content in files(plane.data).items()}
        places["log"] = (directory / "log").read_bytes()
        places |= answers(plane.seen)
        planted["signing key"] = asyncio.run(settings_of(database))
        planted["sealing key"] = [
            line.split()[1] for line in (plane.data / "control-plane.db.keys").read_text().splitlines()
        ]
        yield Evidence(planted, places)


def files(data):
    return {f"file {file.relative_to(data)}": file.read_bytes() for file in data.rglob("*") if file.is_file()}


def outside(pid):
    """What other processes see of ours: any of the command line, and of the environment root alone (test_dumps.py)."""
    process = pathlib.Path(f"/proc/{pid}")
    listed = subprocess.run(["ps", "axeww", "-o", "args"], capture_output=True, check=False).stdout
    found = {"cmdline": (process / "cmdline").read_bytes(), "ps": listed}
    with contextlib.suppress(PermissionError):
        found["environ"] = (process / "environ").read_bytes()
    return found


def answers(seen):
    """Bodies and heads by operation; a token in a path is not ours to hide from the one who sent it."""
    found: dict[str, bytes] = {}
    for one in seen:
        where = re.sub(r"(/v1/hooks/+[^/]+)/.*", r"\1/…", running_plane.path_of(one.target))
        head = json.dumps(one.headers).encode()
        name = f"answer {one.method} {where}"
        found[name] = found.get(name, b"") + b"\n" + head + b"\n" + one.body
    return found


async def settings_of(path):
    """Every setting of the installation is a secret; all of those that are long enough to be searched for."""
    connection = sqlite3.connect(path)
    keys = [key for (key,) in connection.execute("SELECT key FROM settings")]
    connection.close()
    opened = await store.open(path, SystemClock())
    async with opened.read() as tx:
        texts = [await tx.get_setting(key) for key in keys]
    await opened.close()
    return [word for text in texts for word in re.findall(r"[A-Za-z0-9+/=_-]{20,}", text)]


def spellings(secret):
    """The secret as it could be written."""
    raw = secret.encode()
    found = {raw, raw.hex().encode(), urllib.parse.quote(secret, safe="").encode(), raw[::-1]}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + raw)
        found.add(encoded[4 if shift else 0 : -4])
    return found


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_a_secret_is_found_only_where_it_may_be(evidence, field):
    planted = evidence.planted[field.name]
    if isinstance(planted, str):
        pytest.skip(planted)
    assert planted
    for secret in planted:
        found = [
            place for place, content in evidence.places.items() if any(one in content for one in spellings(secret))
        ]
        leaks = [
            place
            for place in found
            if not any(re.fullmatch(rule + "(, after the stop)?", place) for rule in field.allowed)
        ]
        assert leaks == [], f"{field.name} stands in {', '.join(leaks)}"


def test_the_search_would_find_something(evidence):
    """What is no secret stands in all of these places: else the search of them proves nothing."""
    for place in ("log", "file control-plane.db", "backup", "answer GET /v1/audit", "answer GET /v1/events", "ps"):
        assert place in evidence.places or place.startswith("answer"), sorted(evidence.places)
    assert b"control_plane" in evidence.places["ps"]
    assert b"my-app" in evidence.places["log"]
    assert b"my-app" in evidence.places["file control-plane.db, after the stop"]
    assert b"my-app" in evidence.places["backup"]
    assert b"A_KEY" in evidence.places[f"answer GET {ENV}"]
    for name in ("env secret", "wrong password", "signing key", "sealing key", "access and refresh token"):
        assert not isinstance(evidence.planted[name], str), evidence.planted[name]


def test_no_request_of_the_story_was_a_defect(evidence):
    told = [place for place in evidence.places if place.startswith("answer") and "openapi" not in place]
    assert [place for place in told if b"internal_error" in evidence.places[place]] == []
    assert b"Traceback" not in evidence.places["log"]
