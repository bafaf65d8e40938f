"""The first API document that users were given, replayed: every request of it as it stands there, on a real server.

Paths, queries, bodies and header names are theirs. `:id` and `:key` become what exists; nothing else is changed. Its
login is one of our own: their example names nobody who exists.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from control_plane.domain import values
from tests import api_fixtures

CREATE = """{
  "name": "my-app",
  "source": "remote",
  "runtime": "nodejs",
  "version": "20",
  "remote": "https://github.com/user/repo",
  "branch": "main",
  "build_cmd": "npm install",
  "run_cmd": "npm start",
  "port": 3000
}"""
UPDATE = """{
  "version": "22",
  "env": {
    "NODE_ENV": "production"
  }
}"""
LOGIN = """{
  "email": "user@example.com",
  "password": "password"
}"""
ROUTE = """{
  "domain": "example.com",
  "service_id": "service-123",
  "port": 3000
}"""
PROJECT = """{
  "name": "my-project",
  "description": "Project description"
}"""
VARIABLE = """{
  "key": "NODE_ENV",
  "value": "production"
}"""
WEBHOOK = """{
  "url": "https://example.com/webhook",
  "events": ["deployment.created", "deployment.failed"],
  "secret": "webhook-secret"
}"""

JSON_TYPE = {"Content-Type": "application/json"}
OK, CREATED, ACCEPTED, GONE = (frozenset({status}) for status in (200, 201, 202, 204))
SET = OK | CREATED | ACCEPTED  # a variable is made or changed, and the work may follow
ONE = frozenset({"id"})
LIST = frozenset({"data", "next_cursor"})
DEPLOYMENT = ONE | {"name", "status", "runtime", "version", "remote", "branch", "build_cmd", "run_cmd", "port"}
SERVICE = ONE | {"name", "status", "health", "deployment_id", "processes"}


@dataclasses.dataclass(frozen=True)
class Step:
    """One request of the document, and what a client of it may count on: a success, and fields of the answer."""

    title: str
    line: str
    statuses: frozenset[int]
    fields: frozenset[str] = frozenset()
    body: str | None = None
    holds: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def method(self) -> str:
        return self.line.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.line.partition(" ")[2]


# Each runs on a deployment `my-app` with a service, on one instance, unless it creates that deployment itself.
STEPS = [
    pytest.param(
        Step(
            "Create Deployment", "POST /v1/deployments", CREATED, DEPLOYMENT, CREATE,
            {"name": "my-app", "source": "remote", "runtime": "nodejs", "version": "20", "port": 3000,
             "remote": "https://github.com/user/repo", "branch": "main", "build_cmd": "npm install",
             "run_cmd": "npm start"},
        ),
    ),
    pytest.param(Step("List Deployments", "GET /v1/deployments", OK, LIST)),
    pytest.param(Step("Get Deployment", "GET /v1/deployments/:id", OK, DEPLOYMENT, None, {"name": "my-app"})),
    pytest.param(
        Step("Update Deployment", "PUT /v1/deployments/:id", OK, DEPLOYMENT, UPDATE,
             {"version": "22", "env": {"NODE_ENV": "production"}, "run_cmd": "npm start"}),
    ),
    pytest.param(Step("Delete Deployment", "DELETE /v1/deployments/:id", ACCEPTED, DEPLOYMENT)),
    pytest.param(Step("List Services", "GET /v1/services", OK, LIST)),
    pytest.param(Step("Get Service Status", "GET /v1/services/:id/status", OK, SERVICE)),
    pytest.param(Step("Start Service", "POST /v1/services/:id/start", ACCEPTED, SERVICE, None, {"desired": "running"})),
    pytest.param(Step("Stop Service", "POST /v1/services/:id/stop", ACCEPTED, SERVICE, None, {"desired": "stopped"})),
    pytest.param(Step("Restart Service", "POST /v1/services/:id/restart", ACCEPTED, SERVICE, None, {"desired": "running"})),
    pytest.param(Step("List Instances", "GET /v1/instances", OK, LIST)),
    pytest.param(Step("Get Instance", "GET /v1/instances/:id", OK, ONE | {"name", "status"})),
    pytest.param(Step("Get Instance Metrics", "GET /v1/instances/:id/metrics", OK, frozenset({"latest", "series"}))),
    pytest.param(Step("List Routes", "GET /v1/proxy/routes", OK, LIST)),
    pytest.param(
        Step("Create Route", "POST /v1/proxy/routes", CREATED, ONE | {"domain", "service_id", "port", "status"}, ROUTE,
             {"domain": "example.com", "port": 3000}),
    ),
    pytest.param(Step("Delete Route", "DELETE /v1/proxy/routes/:id", GONE)),
    pytest.param(Step("List Projects", "GET /v1/projects", OK, LIST)),
    pytest.param(
        Step("Create Project", "POST /v1/projects", CREATED, ONE | {"name", "description"}, PROJECT,
             {"name": "my-project", "description": "Project description"}),
    ),
    pytest.param(Step("Delete Project", "DELETE /v1/projects/:id", GONE | ACCEPTED)),
    pytest.param(Step("List Variables", "GET /v1/services/:id/env", OK, frozenset({"data"}))),
    pytest.param(
        Step("Set Variable", "POST /v1/services/:id/env", SET, frozenset({"key", "value"}), VARIABLE,
             {"key": "NODE_ENV", "value": "production"}),
    ),
    pytest.param(Step("Delete Variable", "DELETE /v1/services/:id/env/:key", GONE | ACCEPTED)),
    pytest.param(
        Step("Create Webhook", "POST /v1/webhooks", CREATED, ONE | {"url", "events"}, WEBHOOK,
             {"url": "https://example.com/webhook", "events": ["deployment.created", "deployment.failed"]}),
    ),
    pytest.param(Step("List Webhooks", "GET /v1/webhooks", OK, LIST)),
]  # fmt: skip


@pytest.fixture
def running():
    """A server with an instance; its limits are those that the document promises."""
    with api_fixtures.control_plane() as pair:
        yield pair


@pytest.fixture
def plane(running):
    return running[0]


@pytest.fixture
def token(running):
    return logged_in(running[1]).json["access_token"]


@pytest.fixture(scope="module")
def empty():
    """A client of a server on which nothing is made, for all tests that are refused."""
    with api_fixtures.control_plane() as (_, client):
        yield client


def logged_in(client):
    """The document's own login request; it names the one user that there is."""
    body = json.loads(LOGIN) | {"email": api_fixtures.EMAIL, "password": api_fixtures.PASSWORD}
    return send(client, "POST", "/v1/auth/login", json.dumps(body))


def send(client, method, path, body=None, token=""):
    """A request with the headers of the document and no others."""
    headers = (JSON_TYPE if body is not None else {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    anonymous = api_fixtures.Client(client.port)
    return anonymous.request(method, path, body.encode() if body is not None else None, headers)


class World:
    """What the requests of the document find: its own deployment, a route, a project, a variable."""

    def __init__(self, plane, client, token):
        self.plane, self.client, self.token = plane, client, token
        self.deployment = self.service = None

    def prepare(self, step):
        if step.title != "Create Deployment":
            made = self.must("POST", "/v1/deployments", CREATE)
            self.deployment, self.service = made["id"], made["service_id"]
        if step.title == "Get Instance Metrics":
            self.plane.loop.run(self.plane.services.instances.record_sample(self.plane.instance.id, self._sample()))

    def path(self, step):
        """The step's path with something that exists in the place of `:id` and `:key`."""
        if ":" not in step.path:
            return step.path
        return step.path.replace(":id", self._id(step)).replace(":key", "NODE_ENV")

    def body(self, step):
        return step.body and step.body.replace("service-123", self.service or "")

    def must(self, method, path, body):
        answer = send(self.client, method, path, body, self.token)
        assert answer.status in {200, 201, 202}, answer.text
        return answer.json

    def _id(self, step):
        kind = step.path.split("/")[2]
        if kind == "deployments":
            return self.deployment
        if kind == "services":
            if step.title == "Delete Variable":
                self.must("POST", f"/v1/services/{self.service}/env", VARIABLE)
            return self.service
        if kind == "proxy":
            return self.must("POST", "/v1/proxy/routes", ROUTE.replace("service-123", self.service))["id"]
        if kind == "projects":
            return self.must("POST", "/v1/projects", PROJECT)["id"]
        return self.plane.instance.id

    def _sample(self):
        return values.Sample(self.plane.instance.id, 1_700_000_000.0, {"load1": 0.5}, "dployr_load1 0.5\n")


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_a_request_of_the_document_works_as_it_stands_there(plane, running, token, step):
    world = World(plane, running[1], token)
    world.prepare(step)
    answer = send(running[1], step.method, world.path(step), world.body(step), token)
    assert answer.status in step.statuses, answer.text
    if answer.status == 204:
        assert answer.body == b""
    else:
        assert step.fields <= set(answer.json)
        assert {key: answer.json[key] for key in step.holds} == dict(step.holds)
    assert_quota(answer, 1000)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_without_a_token_it_is_a_401_in_the_envelope(empty, step):
    path = step.path.replace(":id", "anything").replace(":key", "NODE_ENV")
    answer = send(empty, step.method, path, step.body)
    assert_envelope(answer, 401, "unauthorized")
    assert_quota(answer, 60)


@pytest.mark.parametrize(
    "step",
    [param.values[0] for param in STEPS if ":id" in param.values[0].path],
    ids=lambda step: step.title,
)
def test_of_something_that_does_not_exist_it_is_a_404_in_the_envelope(empty, step):
    path = step.path.replace(":id", "service-123").replace(":key", "NODE_ENV")
    assert_envelope(send(empty, step.method, path, step.body, empty.token), 404, "not_found")


def test_login_answers_with_tokens_for_an_hour(empty):
    answer = logged_in(empty)
    assert answer.status == 200
    assert answer.json["expires_in"] == 3600
    assert isinstance(answer.json["access_token"], str)
    assert isinstance(answer.json["refresh_token"], str)
    assert_quota(answer, 60)


def test_the_login_of_the_document_itself_is_somebody_unknown(empty):
    assert_envelope(send(empty, "POST", "/v1/auth/login", LOGIN), 401, "unauthorized")


def test_logs_are_followed_from_their_tail(plane, running, token):
    world = World(plane, running[1], token)
    world.prepare(Step("Get Service Logs", "GET", OK))
    plane.relay.tail = [api_fixtures.a_line(seq, f"line {seq}") for seq in range(1, 151)]
    path = f"/v1/services/{world.service}/logs?tail=100&follow=true"
    connection = api_fixtures.Client(running[1].port, token).open("GET", path)
    try:
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("X-RateLimit-Limit") == "1000"
        assert [json.loads(response.readline())["seq"] for _ in range(100)] == list(range(51, 151))
        plane.push([api_fixtures.a_line(151, "new")])
        assert json.loads(response.readline())["line"] == "new"
    finally:
        connection.close()


def test_the_literal_service_of_the_document_is_refused_cleanly(plane, running, token):
    World(plane, running[1], token).prepare(Step("Create Route", "POST", CREATED))
    answer = send(running[1], "POST", "/v1/proxy/routes", ROUTE, token)
    assert answer.status in {400, 404}
    assert_envelope(answer, answer.status, {400: "invalid_request", 404: "not_found"}[answer.status])
    assert "service-123" in answer.json["error"]["message"]


def test_a_bad_version_is_the_error_of_the_document(empty):
    bad = json.dumps(json.loads(CREATE) | {"version": "3000"})
    answer = send(empty, "POST", "/v1/deployments", bad, empty.token)
    assert_envelope(answer, 400, "invalid_request")
    assert answer.json["error"]["message"].startswith("Invalid deployment configuration")
    wrong = json.dumps(json.loads(CREATE) | {"runtime": "cobol"})
    details = send(empty, "POST", "/v1/deployments", wrong, empty.token).json["error"]["details"]
    assert details["field"] == "runtime"
    assert details["issue"]


def test_the_limit_is_60_without_a_token_and_1000_with_one(running, token):
    """The quota of the document, used up by an anonymous client; the signed-in one on the same address goes on."""
    answers = [send(running[1], "GET", "/v1/deployments") for _ in range(60)]
    assert {answer.status for answer in answers[:50]} == {401}
    refused = answers[-1]
    assert_envelope(refused, 429, "rate_limited")
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert int(refused.headers["retry-after"]) >= 1
    assert send(running[1], "GET", "/v1/deployments", token=token).status == 200


def assert_quota(answer, limit):
    """The three headers by their names, with whole numbers."""
    assert answer.headers["x-ratelimit-limit"] == str(limit)
    assert 0 <= int(answer.headers["x-ratelimit-remaining"]) < limit
    assert re.fullmatch(r"\d{10}", answer.headers["x-ratelimit-reset"])


def assert_envelope(answer, status, code):
    assert answer.status == status, answer.text
    error = answer.json["error"]
    assert error["code"] == code
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["details"], dict)
