"""Webhooks over HTTP, from declaring one to what its receiver gets. The receiver is a real one on loopback."""

import asyncio
import base64
import contextlib
import json

import pytest
import standardwebhooks

from control_plane.delivery.client import Client as Poster
from control_plane.delivery.guard import Guard
from control_plane.delivery.sender import Sender
from control_plane.services import deliveries, webhooks
from control_plane.services.deliveries import Deliveries
from control_plane.services.housekeeping import Housekeeping
from tests import api_fixtures, receiver
from tests.delivery_fixtures import ALLOW, Names, NoChance
from tests.waiting import wait_until

SEED = {
    "url": "https://example.com/webhook",
    "events": ["deployment.created", "deployment.failed"],
    "secret": "webhook-secret",
}


@pytest.fixture
def running():
    with api_fixtures.control_plane(context={"webhook_allow": ALLOW}, requests_per_hour=100_000) as (plane, client):
        yield plane, client


@contextlib.contextmanager
def a_receiver(loop, *modes):
    """A receiver on the loop of the control plane."""
    entered = contextlib.AsyncExitStack()

    async def enter():
        return await entered.enter_async_context(receiver.a_receiver(*modes))

    try:
        yield loop.run(enter())
    finally:
        loop.run(entered.aclose())


@contextlib.contextmanager
def sending(plane):
    """The sender at work on the plane's own store, with its clock."""
    context = plane.context
    poster = Poster(Guard(Names(["127.0.0.1"]), ALLOW), context.clock)
    sender = Sender(Deliveries(context), lambda: True, poster, context.clock, NoChance(), "test")

    async def start():
        return asyncio.create_task(sender.run())

    async def end(task):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    task = plane.loop.run(start())
    try:
        yield
    finally:
        plane.loop.run(end(task))


def test_the_webhook_of_the_first_document_works_and_its_secret_stays_inside(running):
    plane, client = running
    made = client.post("/v1/webhooks", SEED)
    assert made.status == 201
    assert made.headers["location"] == f"/v1/webhooks/{made.json['id']}"
    assert made.json["secret"] is None
    assert made.json["events"] == SEED["events"]
    assert made.headers["etag"] == '"1"'
    for path in ("/v1/webhooks", made.headers["location"]):
        assert "webhook-secret" not in client.get(path).text
    assert "webhook-secret" not in repr(plane.store.audit)


def test_a_secret_that_is_made_is_shown_once(running):
    _, client = running
    made = client.post("/v1/webhooks", {"url": SEED["url"], "events": ["*"]}).json
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert client.get(f"/v1/webhooks/{made['id']}").json["secret"] is None


def test_all_faults_of_a_webhook_are_told_together(running):
    _, client = running
    bad = client.post(
        "/v1/webhooks",
        {"url": "https://10.0.0.1/", "events": ["deployment.exploded"], "secret": "", "description": "\x07"},
    )
    assert bad.status == 400
    fields = [problem["field"] for problem in bad.json["error"]["details"]["errors"]]
    assert fields == ["url", "events.0", "secret", "description"]
    assert client.get("/v1/webhooks").json["data"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:1/x",
        "ftp://example.com/",
        "https://user:pw@example.com/",
        "https://2130706433/",
        "https://[::1]/",
    ],
)
def test_addresses_inside_are_refused_at_once(url):
    with api_fixtures.control_plane() as (_, client):
        refused = client.post("/v1/webhooks", {**SEED, "url": url})
        assert (refused.status, refused.json["error"]["details"]["field"]) == (400, "url")
        assert "pw@" not in refused.text


def test_what_happens_reaches_the_receiver_signed_and_is_logged(running):
    plane, client = running
    with a_receiver(plane.loop, "200") as target, sending(plane):
        hook = client.post("/v1/webhooks", {**SEED, "url": target.url(), "events": ["deployment.*"]}).json
        deployed = client.post("/v1/deployments", api_fixtures.NODE_APP).json
        wait_until(lambda: target.received, 10, "the delivery")
        (got,) = target.received
        said = json.loads(got.body)
        assert said["type"] == got.headers["x-dployr-event"] == "deployment.created"
        assert said["data"]["subject"] == deployed["id"]
        assert said["id"] == got.id
        standardwebhooks.Webhook(b"webhook-secret").verify(got.body.decode(), got.headers)

        def logged():
            data = client.get(f"/v1/webhooks/{hook['id']}/deliveries").json["data"]
            return data if data and data[0]["status"] == "delivered" else None

        (delivery,) = wait_until(logged, 10, "the log of the delivery")
        assert (delivery["event_id"], delivery["event"]) == (got.id, "deployment.created")
        assert [attempt["status"] for attempt in delivery["attempts"]] == [200]

        log = f"/v1/webhooks/{hook['id']}/deliveries"
        assert client.get(f"{log}?status=delivered").json["data"] == [delivery]
        assert client.get(f"{log}?status=failed").json["data"] == []
        assert client.get(f"{log}?status=lost").json["error"]["details"]["field"] == "status"

        again = client.post(f"/v1/webhooks/{hook['id']}/deliveries/{delivery['id']}/redeliver")
        assert again.status == 202
        assert again.json["id"] != delivery["id"]
        wait_until(lambda: len(target.received) == 2, 10, "the second delivery")
        assert target.ids == [got.id, got.id]


def test_a_test_goes_to_the_one_webhook_and_a_disabled_one_gets_none(running):
    plane, client = running
    with a_receiver(plane.loop, "200") as target, sending(plane):
        other = client.post("/v1/webhooks", {**SEED, "url": target.url("/other"), "events": ["*"]}).json
        hook = client.post("/v1/webhooks", {**SEED, "url": target.url("/this")}).json
        assert client.post(f"/v1/webhooks/{hook['id']}/test").status == 202
        wait_until(lambda: target.received, 10, "the test")
        assert target.received[0].line.startswith("POST /this ")
        assert client.get(f"/v1/webhooks/{other['id']}/deliveries").json["data"] == []
        off = client.request("PATCH", f"/v1/webhooks/{hook['id']}", {"enabled": False})
        assert (off.status, off.json["enabled"], off.json["generation"]) == (200, False, 2)
        assert client.post(f"/v1/webhooks/{hook['id']}/test").status == 409
        on = client.request("PATCH", f"/v1/webhooks/{hook['id']}", {"enabled": True})
        assert on.json["enabled"]
        assert client.post(f"/v1/webhooks/{hook['id']}/test").status == 202


def test_a_receiver_that_is_gone_disables_its_webhook(running):
    plane, client = running
    with a_receiver(plane.loop, "410") as target, sending(plane):
        hook = client.post("/v1/webhooks", {**SEED, "url": target.url(), "events": ["*"]}).json
        client.post("/v1/deployments", api_fixtures.NODE_APP)
        path = f"/v1/webhooks/{hook['id']}"
        wait_until(lambda: not client.get(path).json["enabled"], 10, "the end of the webhook")
        assert "gone for good" in client.get(path).json["disabled_reason"]
        assert {one["status"] for one in client.get(f"{path}/deliveries").json["data"]} == {"failed"}


def test_a_webhook_is_changed_in_the_generation_that_was_read_and_deleted(running):
    _, client = running
    hook = client.post("/v1/webhooks", SEED).json
    path = f"/v1/webhooks/{hook['id']}"
    changed = client.request("PATCH", path, {"events": ["route.*", "route.*"]}, {"If-Match": '"1"'})
    assert (changed.json["events"], changed.json["generation"]) == (["route.*"], 2)
    stale = client.request("PATCH", path, {"url": "https://example.org/"}, {"If-Match": '"1"'})
    assert (stale.status, stale.json["error"]["details"]) == (412, {"generation": 2})
    assert client.request("DELETE", path, headers={"If-Match": '"1"'}).status == 412
    assert client.delete(path).status == 204
    assert client.get(path).status == 404


def test_a_project_has_so_many_webhooks_and_no_more(running):
    _, client = running
    made = [client.post("/v1/webhooks", SEED).status for _ in range(webhooks.MAX_WEBHOOKS + 1)]
    assert made == [201] * webhooks.MAX_WEBHOOKS + [409]


def test_a_webhook_for_which_too_much_waits_is_disabled(running, monkeypatch):
    plane, client = running
    monkeypatch.setattr(deliveries, "MAX_WAITING", 1)
    path = client.post("/v1/webhooks", {**SEED, "events": ["*"]}).headers["location"]
    other = client.post("/v1/webhooks", {**SEED, "events": ["deployment.failed"]}).headers["location"]
    for name in ("one", "two"):
        assert client.post("/v1/deployments", {**api_fixtures.NODE_APP, "name": name}).status == 201
    plane.loop.run(Housekeeping(plane.context).run())
    shown = client.get(path).json
    assert not shown["enabled"]
    assert "waited for the receiver" in shown["disabled_reason"]
    assert {one["status"] for one in client.get(f"{path}/deliveries").json["data"]} == {"failed"}
    assert client.get(other).json["enabled"]
