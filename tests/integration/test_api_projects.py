"""Projects, members, events and audit over a real server."""

import contextlib
import dataclasses
import json

import pytest

from control_plane.services.status import Status
from tests import api_fixtures, builders
from tests.waiting import wait_until

MANY = {"requests_per_hour": 100_000, "anonymous_per_hour": 100_000}


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(heartbeat_s=0.05, **MANY) as pair:
        pair[0].loop.run(_make_people(pair[0]))
        yield pair


async def _make_people(plane):
    async with plane.store.write() as tx:
        for name in ("ada", "bob"):
            await tx.insert_user(builders.a_user(id=f"usr_{name}", email=f"{name}@example.com", operator=False))


@pytest.fixture
def client(running):
    return running[1]


@pytest.fixture
def ada(running):
    return api_fixtures.Client(running[1].port, running[0].token(sub="usr_ada"))


@pytest.fixture
def bob(running):
    return api_fixtures.Client(running[1].port, running[0].token(sub="usr_bob"))


@pytest.fixture
def shop(ada, running):
    """A project of ada's, gone afterwards."""
    made = ada.post("/v1/projects", {"name": "shop", "description": "what we sell"})
    assert made.status == 201
    yield made.json
    if ada.delete(f"/v1/projects/{made.json['id']}?force=true").status == 202:
        running[0].loop.run(_confirm(running[0], made.json["id"]))


async def _confirm(plane, project_id):
    """The agent says that what was deployed in the project is gone."""
    async with plane.store.read() as tx:
        services = await tx.list_services({project_id}, None, None, 9)
        host = await tx.find_instance(plane.instance.id)
    for service in services:
        report = builders.a_report(service.generation, service_id=service.id, removed=True)
        await Status(plane.context).record(host.id, host.epoch, report)


def test_a_project_from_its_creation_to_its_end(ada):
    made = ada.post("/v1/projects", {"name": "shop"})
    assert (made.status, made.headers["location"]) == (201, f"/v1/projects/{made.json['id']}")
    assert ada.get("/v1/projects/shop").json == made.json
    changed = ada.request("PATCH", "/v1/projects/shop", {"name": "store"}, {"If-Match": made.headers["etag"]})
    assert (changed.status, changed.json["name"], changed.headers["etag"]) == (200, "store", '"2"')
    stale = ada.request("PATCH", "/v1/projects/store", {"name": "shop"}, {"If-Match": made.headers["etag"]})
    assert stale.status == 412
    assert [one["name"] for one in ada.get("/v1/projects?name=store").json["data"]] == ["store"]
    gone = ada.delete("/v1/projects/store")
    assert (gone.status, gone.body) == (204, b"")
    assert ada.get("/v1/projects/store").status == 404


def test_a_dry_run_of_a_deletion_names_everything_that_would_go(ada, shop, running):
    ada.post("/v1/deployments", {**api_fixtures.NODE_APP, "project": "shop"})
    assert ada.delete("/v1/projects/shop").status == 409
    plan = ada.delete("/v1/projects/shop?force=true&dry_run=true").json
    assert [step["action"] for step in plan["changes"]] == ["project.deleted", "deployment.deleted"]
    assert ada.get("/v1/projects/shop").json["status"] == "active"
    accepted = ada.delete("/v1/projects/shop?force=true")
    assert (accepted.status, accepted.json["status"]) == (202, "deleting")
    running[0].loop.run(_confirm(running[0], shop["id"]))
    assert ada.get("/v1/projects/shop").status == 404


def test_several_problems_are_told_together_and_unknown_fields_refused(ada):
    answer = ada.post("/v1/projects", {"name": "No Good", "description": "\u0007"})
    assert answer.status == 400
    assert [one["field"] for one in answer.json["error"]["details"]["errors"]] == ["name", "description"]
    assert ada.post("/v1/projects", {"name": "x", "id": "prj_mine"}).status == 400


def test_members_are_managed_by_email_and_id(ada, bob, shop):
    assert bob.get("/v1/projects/shop").status == 404
    added = ada.put("/v1/projects/shop/members/bob@example.com", {"role": "viewer"})
    assert (added.status, added.json["user_id"], added.json["role"]) == (201, "usr_bob", "viewer")
    assert added.headers["location"] == "/v1/projects/shop/members/usr_bob"
    assert bob.get("/v1/projects/shop").status == 200
    assert bob.get(added.headers["location"]).json == added.json
    assert bob.get("/v1/projects/shop/members/nobody@example.com").status == 404
    assert bob.put("/v1/projects/shop/members/usr_bob", {"role": "admin"}).status == 403
    assert ada.put("/v1/projects/shop/members/usr_bob", {"role": "admin"}).status == 200
    assert [one["role"] for one in bob.get("/v1/projects/shop/members").json["data"]] == ["owner", "admin"]
    assert ada.put("/v1/projects/shop/members/usr_ada", {"role": "viewer"}).status == 409
    assert ada.put("/v1/projects/shop/members/usr_bob", {"role": "king"}).status == 400
    assert ada.delete("/v1/projects/shop/members/usr_bob").status == 204
    assert ada.delete("/v1/projects/shop/members/usr_bob").status == 404
    assert bob.get("/v1/projects/shop").status == 404


@contextlib.contextmanager
def following(client, path, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(client.open("GET", path, headers=sent)) as connection:
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield response


def next_event(response):
    """The next line that is no heartbeat."""
    return json.loads(wait_until(lambda: response.readline().strip(), what="an event"))


def deploy(client, name):
    made = client.post("/v1/deployments", {**api_fixtures.NODE_APP, "name": name, "project": "shop"})
    assert made.status == 201
    return made.json["id"]


def test_events_are_followed_as_json_lines_and_resumed(ada, bob, shop):
    with following(ada, "/v1/events?follow=true&type=deployment.*") as response:
        assert response.getheader("Content-Type") == "application/x-ndjson"
        first = deploy(ada, "one")
        seen = next_event(response)
        assert (seen["type"], seen["subject"], seen["project_id"]) == ("deployment.created", first, shop["id"])
    second = deploy(ada, "two")
    with following(ada, f"/v1/events?follow=true&since={seen['sequence']}") as response:
        assert next_event(response)["subject"] == second
    page = ada.get(f"/v1/events?since={seen['id']}").json
    assert [one["subject"] for one in page["data"]] == [second]
    assert bob.get("/v1/events").json == {"data": [], "next_cursor": None}


def test_server_sent_events_carry_their_sequence_and_go_on_behind_the_last_one(ada, shop):
    made = [deploy(ada, name) for name in ("one", "two")]
    first = ada.get(f"/v1/events?subject={made[0]}").json["data"][0]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(first["sequence"])}
    with following(ada, "/v1/events?follow=true", **headers) as response:
        assert response.getheader("Content-Type") == "text/event-stream; charset=utf-8"
        number = int(response.readline().removeprefix(b"id: "))
        assert number > first["sequence"]
        assert response.readline() == b"event: deployment.created\n"
        assert json.loads(response.readline().removeprefix(b"data: "))["subject"] == made[1]
        assert response.readline() == b"\n"
        wait_until(lambda: response.readline() == b": heartbeat\n", what="a heartbeat")


def test_people_read_lines_of_text(ada, shop):
    made = deploy(ada, "one")
    with following(ada, f"/v1/events?follow=true&since=0&subject={made}", Accept="text/plain") as response:
        assert response.readline().endswith(f'deployment.created {made} name="one"\n'.encode())


def test_a_page_s_cursor_goes_on_as_a_stream(client, ada, shop):
    made = [deploy(ada, name) for name in ("one", "two", "three")]
    page = ada.get("/v1/events?limit=1&type=deployment.created&project=shop").json
    assert page["data"][0]["subject"] == made[0]
    with following(ada, f"/v1/events?follow=true&project=shop&cursor={page['next_cursor']}") as response:
        assert [next_event(response)["subject"] for _ in range(2)] == made[1:]


def test_who_is_disabled_loses_the_stream(running, bob):
    with following(bob, "/v1/events?follow=true") as response:
        running[0].loop.run(_disable(running[0], "usr_bob", disabled=True))
        last = response.read().strip()  # returns because the stream ends
        assert not last or json.loads(last)["error"]["code"] == "unauthorized"
    running[0].loop.run(_disable(running[0], "usr_bob", disabled=False))


async def _disable(plane, user_id, disabled):
    async with plane.store.write() as tx:
        await tx.update_user(dataclasses.replace(await tx.get_user(user_id), disabled=disabled))


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("since=evt_none", "since"),
        ("type=route", "type"),
        ("cursor=x", "cursor"),
        ("project=none", "project"),
        ("follow=perhaps", "follow"),
        ("colour=red", "colour"),
    ],
)
def test_bad_parameters_of_events_are_named_also_before_a_stream(client, query, field):
    for more in ("", "&follow=true"):
        answer = client.get(f"/v1/events?{query}{more if field != 'follow' else ''}")
        assert answer.status == 400, answer.text
        assert answer.json["error"]["details"]["field"] == field


def test_the_audit_says_who_did_what_and_from_where(client, ada, bob, shop):
    made = deploy(ada, "one")
    (entry,) = ada.get(f"/v1/audit?target={made}").json["data"]
    assert (entry["action"], entry["actor_name"], entry["address"]) == (
        "deployment.created", "ada@example.com", "127.0.0.1",
    )  # fmt: skip
    assert entry["summary"].startswith("create deployment one in project shop")
    assert ada.get("/v1/audit?actor=ada@example.com&action=deployment.created&project=shop").json["data"] == [entry]
    assert ada.get(f"/v1/audit?since={entry['timestamp']}&until=2020-01-01T00:00:00Z").json["data"] == []
    assert bob.get("/v1/audit").json["data"] == []
    operators = client.get("/v1/audit?limit=2").json
    older = client.get(f"/v1/audit?limit=2&cursor={operators['next_cursor']}").json
    numbers = [one["sequence"] for one in operators["data"] + older["data"]]
    assert numbers == list(range(numbers[0], numbers[0] - 4, -1))
    for bad in ("since=x", "until=x", "cursor=x", "project=none"):
        assert client.get(f"/v1/audit?{bad}").json["error"]["details"]["field"] == bad.partition("=")[0]
