"""How many streams one user may hold open, over a real server."""

import contextlib

import pytest

from tests import api_fixtures
from tests.waiting import wait_until

MANY = {"requests_per_hour": 100_000, "anonymous_per_hour": 100_000}
LOGS, EVENTS, RUN = "/v1/services/my-app/logs?follow=true", "/v1/events?follow=true", "/v1/services/my-app/run"


@pytest.fixture
def running():
    with api_fixtures.control_plane(max_streams=2, **MANY) as (plane, client):
        client.post("/v1/deployments", api_fixtures.NODE_APP)
        plane.report("my-app")
        plane.runs.connect(plane.instance.id)
        plane.runs.serve(client.get("/v1/services/my-app").json["id"])
        yield plane, client


@contextlib.contextmanager
def streaming(client, method, path, body=None):
    with contextlib.closing(client.open(method, path, body)) as connection:
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield response


def opens(client):
    with contextlib.closing(client.open("GET", EVENTS)) as connection:
        return connection.getresponse().status == 200


def test_who_holds_all_their_streams_open_gets_no_other_until_one_is_closed(running):
    plane, client = running
    with streaming(client, "GET", EVENTS):
        with streaming(client, "GET", LOGS):
            for method, path, body in (("GET", EVENTS, None), ("GET", LOGS, None), ("POST", RUN, {"command": "true"})):
                refused = client.request(method, path, body)
                assert (refused.status, refused.json["error"]["code"]) == (429, "rate_limited")
                assert int(refused.headers["retry-after"]) > 0
            assert plane.runs.asked == []
            assert client.get("/v1/services/my-app/logs").status == 200
        wait_until(lambda: opens(client), what="the place of a closed stream is free")


def test_what_opens_no_stream_takes_no_place(running):
    _, client = running
    for _ in range(3):
        assert client.get("/v1/services/nothing/logs?follow=true").status == 404
        assert client.post(f"{RUN}?dry_run=true", {"command": "true"}).status == 200
        assert client.request("HEAD", EVENTS).status == 200
    with streaming(client, "POST", RUN, {"command": "echo a; exit 0"}) as ended:
        assert ended.read()
    with streaming(client, "GET", EVENTS):
        wait_until(lambda: opens(client), what="the place of a finished stream is free")
