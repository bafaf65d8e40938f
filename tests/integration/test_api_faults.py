"""Several faults in one body are told together: those of its form, and those that the rules find in the rest."""

import pytest

from tests import api_fixtures

# By operation: a body with a field that is unknown or of the wrong type, and everything that is wrong with it.
WRONG = {
    "auth_password": ({"current": 1, "new": "short"}, {"current", "new"}),
    "auth_setup": ({"token": 1, "email": "nobody", "password": "x"}, {"token", "email", "password"}),
    "deployments_create": (
        {"name": "_", "port": "x", "branch": "..", "run_cmd": "true", "runtime": "cobol"},
        {"name", "port", "branch", "remote", "runtime"},
    ),
    "deployments_update": ({"port": "x", "branch": "..", "replicas": 0}, {"port", "branch", "replicas"}),
    "deployments_redeploy": ({"commit": "head", "force": True}, {"commit", "force"}),
    "env_set": ({"key": "1A", "value": [], "secret": 1}, {"key", "value", "secret"}),
    "env_replace": (
        {"variables": [{"key": "A", "value": {}}, {"key": "PORT", "value": 80}, {"key": "1"}], "apply": 1},
        {"variables.0.value", "variables.1.key", "variables.2.key", "apply"},
    ),
    "instances_update": ({"labels": {"-": "x"}, "cordoned": "yes"}, {"labels.-", "cordoned"}),
    "projects_create": ({"name": "_", "description": "\x07", "owner": "me"}, {"name", "description", "owner"}),
    "projects_update": ({"name": "_", "description": 7}, {"name", "description"}),
    "routes_create": (
        {"domain": "-", "path": "x", "service_id": 1, "tls": "on", "max_body": "much", "weights": {"a": 1}},
        {"domain", "path", "service_id", "tls", "max_body", "weights"},
    ),
    "routes_update": ({"port": "x", "redirect_to": "ftp://x"}, {"port", "redirect_to"}),
    "services_run": ({"command": " ", "timeout": "2h", "user": "root"}, {"command", "timeout", "user"}),
    "services_update": (
        {"replicas": 0, "resources": {"cpu": -1}, "health_check": {"interval": 0, "path": None}, "port": 1},
        {"replicas", "resources.cpu", "health_check.interval", "port"},
    ),
    "tokens_create": (
        {"name": " ", "scopes": ["everything"], "expires_in": 0, "expires_at": 1},
        {"name", "scopes", "expires_in", "expires_at"},
    ),
    "users_create": ({"email": "nobody", "password": "x", "operator": 1}, {"email", "password", "operator"}),
    "users_update": ({"email": "nobody", "operator": 1}, {"email", "operator"}),
    "webhooks_create": (
        {"url": "ftp://x", "events": ["a", "b"], "secret": "", "description": "\x07", "enabled": True},
        {"url", "events.0", "events.1", "secret", "description", "enabled"},
    ),
    "webhooks_update": ({"url": "ftp://x", "events": [], "enabled": 1}, {"url", "events", "enabled"}),
}
# Bodies without a rule that the form does not keep already.
FORM_ONLY = frozenset(
    ("auth_login", "auth_refresh", "deployments_rollback", "hooks_receive", "instances_join_token", "members_put")
)


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(requests_per_hour=1_000_000, anonymous_per_hour=1_000_000) as pair:
        yield pair


@pytest.fixture(scope="module")
def operations(running):
    document = running[1].get("/v1/openapi.json").json
    return {
        operation["operationId"]: (path, method.upper(), operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_every_body_is_in_the_table(operations):
    with_json = {
        name
        for name, (_, _, operation) in operations.items()
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert with_json == set(WRONG) | FORM_ONLY


@pytest.mark.parametrize("name", WRONG)
def test_faults_of_form_and_of_rules_are_told_together(running, operations, name):
    path, method, _ = operations[name]
    body, wrong = WRONG[name]
    answer = running[1].request(method, path.replace("{id}", "anything"), body)
    assert answer.status == 400
    assert {one["field"] for one in answer.json["error"]["details"]["errors"]} == wrong


@pytest.fixture(scope="module")
def service(running):
    return running[1].post("/v1/deployments", api_fixtures.NODE_APP).json["service_id"]


def test_faults_of_a_route_are_told_together_with_what_its_service_knows(running, service):
    plane, client = running
    plane.connect(runtimes={"nodejs": "20"}, capabilities={"route_options": "tls"})
    body = {"domain": "-", "service_id": service, "port": 1, "websocket": False, "weights": {"other": 100}}
    found = client.post("/v1/proxy/routes", body).json["error"]["details"]["errors"]
    assert {one["field"] for one in found} == {"domain", "port", "websocket", "weights.other"}
    missing = client.post(
        "/v1/proxy/routes", {"domain": "-", "service_id": "nothing", "basic_auth": {"ada": "long enough"}}
    )
    assert {one["field"] for one in missing.json["error"]["details"]["errors"]} == {"domain", "service_id"}


def test_faults_of_a_webhook_are_told_together_with_its_project(running):
    body = {"url": "http://10.0.0.1/", "events": ["nothing"], "project": "nowhere"}
    found = running[1].post("/v1/webhooks", body).json["error"]["details"]["errors"]
    assert {one["field"] for one in found} == {"url", "events.0", "project"}
