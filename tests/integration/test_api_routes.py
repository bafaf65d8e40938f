"""Routes over HTTP: their options, changes, whose a name is, and what a dry run says."""

import pytest

from control_plane.domain import values
from control_plane.services.routes import RouteFields
from tests import api_fixtures, builders

ABILITIES = "redirect_to,headers,max_body,websocket,maintenance,basic_auth"
FULL = {
    "domain": "shop.example.com",
    "service_id": "my-app",
    "path": "/api",
    "redirect_to": "https://www.example.com/new",
    "basic_auth": {"ada": "correct horse"},
    "headers": {"X-Frame-Options": "DENY"},
    "max_body": "100M",
    "websocket": False,
    "maintenance": True,
}


@pytest.fixture
def running():
    with api_fixtures.control_plane(requests_per_hour=100_000) as (plane, client):
        plane.loop.run(able(plane, ABILITIES))
        client.post("/v1/deployments", api_fixtures.NODE_APP)
        yield plane, client


async def able(plane, abilities):
    facts = {"os": "Debian", "capabilities": {"route_options": abilities}}
    await plane.services.instances.connected(plane.instance.id, "0.1.0", "boot", facts)


async def in_another_project(plane, domain):
    """A route that is somebody else's."""
    async with plane.store.write() as tx:
        await tx.insert_project(builders.a_project(id="prj_other", name="other"))
    fields = builders.some_fields(name="theirs", project="other")
    await plane.services.deployments.create(builders.OPERATOR, fields)
    await plane.services.routes.create(builders.OPERATOR, RouteFields(domain, "theirs"))


def test_every_option_is_kept_and_what_is_secret_is_not_shown(running):
    _, client = running
    made = client.post("/v1/proxy/routes", FULL)
    assert made.status == 201, made.text
    shown = client.get(made.headers["location"])
    assert shown.json == made.json
    expected = {**FULL, "basic_auth": ["ada"], "max_body": 100 << 20, "service_id": made.json["service_id"]}
    assert {key: made.json[key] for key in expected} == expected
    assert "correct horse" not in shown.text


def test_a_password_of_visitors_is_kept_as_a_hash_that_the_proxy_reads(running):
    plane, client = running
    made = client.post("/v1/proxy/routes", FULL).json

    async def stored():
        async with plane.store.read() as tx:
            return await tx.get_route(made["id"])

    ((user, hashed),) = plane.loop.run(stored()).options.basic_auth
    assert (user, hashed[:3]) == ("ada", "$6$")


def test_only_what_is_given_changes_and_the_service_gets_a_new_wish(running):
    _, client = running
    made = client.post("/v1/proxy/routes", FULL).json
    before = client.get("/v1/services/my-app").json["generation"]
    path = f"/v1/proxy/routes/{made['id']}"
    changed = client.request("PATCH", path, {"maintenance": False, "max_body": 1024}, {"If-Match": '"1"'})
    assert changed.status == 200, changed.text
    assert {key for key in made if made[key] != changed.json[key]} == {
        *("maintenance", "max_body", "generation", "updated_at")
    }
    assert client.get("/v1/services/my-app").json["generation"] == before + 1
    same = client.request("PATCH", path, {"maintenance": False})
    assert same.json["generation"] == 2
    assert client.request("PATCH", path, {"basic_auth": {}}).json["basic_auth"] == []


def test_all_faults_of_a_route_are_told_together(running):
    _, client = running
    bad = client.post(
        "/v1/proxy/routes",
        {
            "domain": "10.0.0.1",
            "service_id": "my-app",
            "path": "/..",
            "tls": "maybe",
            "redirect_to": "javascript:1",
            "basic_auth": {"a b": "long enough", "ada": "short"},
            "headers": {"Host": "x", "X-Ok": 'a"b'},
            "max_body": "many",
            "weights": {"my-app": 20},
        },
    )
    assert bad.status == 400
    fields = [problem["field"] for problem in bad.json["error"]["details"]["errors"]]
    assert fields == [
        *("domain", "path", "tls", "basic_auth.a b", "basic_auth.ada", "headers.Host", "headers.X-Ok"),
        *("redirect_to", "max_body", "weights"),
    ]


def test_what_the_proxy_cannot_do_is_refused_and_not_forgotten(running):
    plane, client = running
    refused = client.post("/v1/proxy/routes", {**FULL, "tls": "auto", "force_https": True})
    assert refused.status == 400
    fields = [problem["field"] for problem in refused.json["error"]["details"]["errors"]]
    assert fields == ["force_https", "tls"]
    plane.loop.run(able(plane, ""))
    assert client.post("/v1/proxy/routes", FULL).status == 400
    plain = client.post("/v1/proxy/routes", {"domain": "a.test", "service_id": "my-app", "port": 3000})
    assert (plain.status, plain.json["tls"], plain.json["certificate"]) == (201, "off", None)


def test_a_route_shows_what_is_known_of_its_certificate(running):
    plane, client = running
    plane.loop.run(able(plane, "tls"))
    body = {"domain": "a.test", "service_id": "my-app", "tls": "auto"}
    made = client.post("/v1/proxy/routes", body).json
    assert made["certificate"] == {"state": "pending", "expires_at": None}
    path = f"/v1/proxy/routes/{made['id']}"
    assert client.get(path).json == made
    assert client.get("/v1/proxy/routes").json["data"] == [made]
    assert client.request("PATCH", path, {"tls": "off"}).json["certificate"] is None


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("shop.example.com", "shop.example.com"),
        ("shop.example.com", "SHOP.example.com."),
        ("*.example.com", "shop.example.com"),
        ("shop.example.com", "*.example.com"),
    ],
)
def test_a_name_of_another_project_is_not_taken_by_path_case_or_wildcard(running, theirs, ours):
    plane, client = running
    plane.loop.run(in_another_project(plane, theirs))
    wanted = {"domain": ours, "service_id": "my-app", "path": "/sub"}
    taken = client.post("/v1/proxy/routes", wanted)
    assert (taken.status, taken.json["error"]["details"]) == (409, {"field": "domain", "issue": "taken"})
    assert client.post("/v1/proxy/routes", {**wanted, "domain": "deep.shop.example.com"}).status == 201


def test_a_route_is_not_moved_to_another_projects_service(running):
    plane, client = running
    plane.loop.run(in_another_project(plane, "x.test"))
    made = client.post("/v1/proxy/routes", {"domain": "a.test", "service_id": "my-app"}).json
    moved = client.request("PATCH", f"/v1/proxy/routes/{made['id']}", {"service_id": "theirs"})
    assert (moved.status, moved.json["error"]["details"]["field"]) == (400, "service_id")


def test_a_dry_run_plans_a_route_and_makes_none(running):
    _, client = running
    dry = client.post("/v1/proxy/routes?dry_run=true", {"domain": "a.test", "service_id": "my-app"})
    assert dry.status == 200
    (step,) = dry.json["changes"]
    assert (step["action"], step["summary"]) == ("route.created", "send a.test/ to service my-app")
    assert dry.json["result"]["domain"] == "a.test"
    assert client.get("/v1/proxy/routes").json["data"] == []


def test_lists_are_filtered_by_service_domain_and_status(running):
    _, client = running
    for domain in ("a.test", "b.test"):
        client.post("/v1/proxy/routes", {"domain": domain, "service_id": "my-app"})
    assert [one["domain"] for one in client.get("/v1/proxy/routes?domain=B.test").json["data"]] == ["b.test"]
    assert len(client.get("/v1/proxy/routes?service=my-app").json["data"]) == 2
    for kind in ("service", "project"):
        unknown = client.get(f"/v1/proxy/routes?{kind}=none")
        assert (unknown.status, unknown.json["error"]["details"]["field"]) == (400, kind)
    assert len(client.get("/v1/proxy/routes?status=pending").json["data"]) == len(
        client.get("/v1/proxy/routes").json["data"]
    )
    assert client.get("/v1/proxy/routes?status=active").json["data"] == []
    assert client.get("/v1/proxy/routes?status=asleep").json["error"]["details"]["field"] == "status"


def test_a_route_that_goes_with_its_deployment_is_told_of_like_any_other(running):
    _, client = running
    made = client.post("/v1/proxy/routes", {"domain": "a.test", "service_id": "my-app"}).json
    assert client.delete("/v1/deployments/my-app").status == 202
    assert client.get(f"/v1/proxy/routes/{made['id']}").status == 404
    told = client.get(f"/v1/events?subject={made['id']}").json["data"]
    assert [one["type"] for one in told] == ["route.created", "route.deleted"]
    (noted,) = client.get("/v1/audit?action=deployment.deleted").json["data"]
    assert noted["data"]["routes"] == ["a.test/"]


def test_options_survive_the_store_with_their_secrets_sealed():
    options = values.RouteOptions(key="PRIVATE", basic_auth=(("ada", "$6$x"),))
    assert "PRIVATE" not in repr(options)
    assert "$6$" not in repr(options)
