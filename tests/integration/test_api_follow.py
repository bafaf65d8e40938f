"""Following logs over a real server: formats, heartbeats, gaps, ends and errors."""

import contextlib
import json

import pytest

from control_plane import errors
from tests import api_fixtures
from tests.waiting import wait_until

MANY = {"requests_per_hour": 100_000, "anonymous_per_hour": 100_000}
LOGS = "/v1/services/my-app/logs"
BUILD = "/v1/deployments/my-app/releases/1/logs"
a_line = api_fixtures.a_line


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(**MANY) as pair:
        assert pair[1].post("/v1/deployments", api_fixtures.NODE_APP).status == 201
        yield pair


@pytest.fixture
def plane(running):
    relay = running[0].relay
    relay.reset()
    yield running[0]
    wait_until(lambda: relay.closed == len(relay.queues), what="every log closed")


@pytest.fixture
def client(running):
    return running[1]


@contextlib.contextmanager
def following(client, path, **headers):
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(client.open("GET", path, headers=sent)) as connection:
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield response


def test_following_gives_the_tail_and_then_what_comes_as_ndjson(plane, client):
    plane.relay.tail = [a_line(1, "one"), a_line(2, "two")]
    with following(client, f"{LOGS}?tail=1&follow=true") as response:
        assert response.getheader("Content-Type") == "application/x-ndjson"
        assert response.getheader("X-Accel-Buffering") == "no"
        assert response.getheader("X-RateLimit-Limit") == "100000"
        assert response.getheader("Retry-After") is None
        assert json.loads(response.readline())["line"] == "two"
        plane.push([a_line(3, "three"), a_line(4, gap_to=9)])
        assert json.loads(response.readline())["seq"] == 3
        assert json.loads(response.readline()) == {"gap": {"from": 4, "to": 9}}
        plane.push(None)
        assert response.read() == b""


def test_a_page_is_bounded_although_an_agent_sends_empty_lines_without_an_end(plane, client):
    plane.relay.ignores_tail = True
    plane.relay.tail = [a_line(number, "") for number in range(1, 50_001)]
    page = client.get(f"{LOGS}?tail=100").json
    assert 0 < len(page["data"]) <= 16 << 10
    assert page["data"][-1]["seq"] == 50_000


def gone(plane):
    return errors.UnavailableError("cannot read the log: it went", {"instance": plane.instance.id})


def test_a_partial_log_of_an_instance_that_goes_unnoticed_is_what_came_before(plane, client):
    plane.relay.error = gone(plane)
    assert client.get(LOGS).status == 503
    assert client.get(f"{LOGS}?partial=true").json == {"data": [], "next_cursor": None}
    with following(client, f"{LOGS}?partial=true&follow=true") as response:
        assert response.read() == b""


def test_a_follower_of_a_partial_log_is_told_when_the_instance_goes(plane, client):
    plane.relay.tail = [a_line(1)]
    with following(client, f"{LOGS}?partial=true&follow=true") as response:
        assert json.loads(response.readline())["seq"] == 1
        plane.push(gone(plane))
        assert json.loads(response.readline())["error"]["code"] == "unavailable"


def test_following_resumes_behind_a_sequence_number(plane, client):
    plane.relay.tail = [a_line(1), a_line(2)]
    with following(client, f"{LOGS}?follow=true&after_seq=1") as response:
        assert json.loads(response.readline())["seq"] == 2
    assert plane.relay.queries[0].follow
    assert plane.relay.queries[0].after_seq == 1


def test_server_sent_events_carry_ids_and_resume_from_the_last_one(plane, client):
    plane.relay.tail = [a_line(1), a_line(2, "two"), a_line(3, gap_to=5)]
    with following(client, f"{LOGS}?follow=true", Accept="text/event-stream", Last_Event_ID="1") as response:
        assert response.getheader("Content-Type").startswith("text/event-stream")
        assert response.readline() == b"id: 2\n"
        assert json.loads(response.readline().removeprefix(b"data: "))["line"] == "two"
        assert response.readline() == b"\n"
        assert response.readline() == b"id: 5\n"
        assert json.loads(response.readline().removeprefix(b"data: ")) == {"gap": {"from": 3, "to": 5}}


@pytest.mark.parametrize("path", [LOGS, "/v1/events"])
def test_a_stream_that_cannot_be_resumed_is_refused_and_not_begun_anew(client, path):
    for query in ("?follow=true", ""):
        answer = client.get(f"{path}{query}", Last_Event_ID="evt_1")
        assert (answer.status, answer.json["error"]["details"]["field"]) == (400, "Last-Event-ID")


def test_control_characters_are_escaped_in_every_format(plane, client):
    plane.relay.tail = [a_line(1, b"\x1b[31mred\x07 \xff \xe2\x80\xae \t\xc2\x9b")]
    with following(client, f"{LOGS}?follow=true", Accept="text/plain") as response:
        assert response.readline().decode() == "\\x1b[31mred\\x07 \ufffd \\u202e \t\\x9b\n"
    with following(client, f"{LOGS}?follow=true") as response:
        raw = response.readline()
    assert b"\x1b" not in raw
    assert raw.isascii()
    assert json.loads(raw)["line"].startswith("\x1b[31mred")


def test_an_error_before_the_first_byte_has_a_status(plane, client):
    assert client.get("/v1/services/nothing/logs?follow=true").status == 404
    plane.relay.error = errors.UnavailableError("cannot read: away", {"instance": "ins_1"})
    answer = client.get(f"{LOGS}?follow=true")
    assert answer.status == 503
    assert answer.json["error"]["details"] == {"instance": "ins_1"}
    assert client.get(LOGS).status == 503


@pytest.mark.parametrize(
    ("accept", "words"),
    [
        ("application/x-ndjson", b'{"error": {"code": "unavailable"'),
        ("text/event-stream", b"event: error\n"),
        ("text/plain", b"[log ended: cannot read: the instance left]"),
    ],
)
def test_an_error_on_the_way_is_the_last_line(plane, client, accept, words):
    plane.relay.tail = [a_line(1)]
    with following(client, f"{LOGS}?follow=true", Accept=accept) as response:
        response.readline()
        plane.push(errors.UnavailableError("cannot read: the instance left"))
        assert words in response.read()


def test_a_client_that_leaves_ends_the_reading(plane, client):
    with following(client, f"{LOGS}?follow=true"):
        wait_until(lambda: plane.relay.queues)
        assert plane.relay.closed == 0
    wait_until(lambda: plane.relay.closed == 1)


def test_clients_that_leave_at_once_leave_nothing_open(plane, client):
    for path in (LOGS, BUILD) * 15:
        client.open("GET", f"{path}?follow=true").close()
    assert client.get("/v1/deployments").status == 200


def test_head_of_a_followed_log_streams_nothing(plane, client):
    answer = client.request("HEAD", f"{LOGS}?follow=true")
    assert (answer.status, answer.body) == (200, b"")


def test_following_needs_a_login_and_good_parameters(plane, client):
    assert api_fixtures.Client(client.port).get(f"{LOGS}?follow=true").status == 401
    for query in ("follow=perhaps", "tail=-1", "tail=5001", "tail=x", "after_seq=-1", "since=soon", "source=odd"):
        answer = client.get(f"{LOGS}?{query}")
        assert answer.status == 400
        assert answer.json["error"]["details"]["field"] == query.partition("=")[0]


def test_many_followers_leave_ordinary_requests_alone(plane, client):
    with contextlib.ExitStack() as followers:
        for _ in range(40):
            followers.enter_context(following(client, f"{LOGS}?follow=true"))
        assert all(client.get("/v1/deployments").status == 200 for _ in range(10))


def test_a_release_log_asks_for_the_build_of_that_release(plane, client):
    plane.relay.tail = [a_line(1, "npm install")]
    assert client.get(BUILD).json["data"][0]["line"] == "npm install"
    query = plane.relay.queries[0]
    assert (query.source, query.release, query.follow) == ("build", 1, False)
    assert client.get("/v1/deployments/my-app/releases/7/logs").status == 404


def test_a_followed_release_log_ends_by_itself_with_its_tail_delivered(plane, client):
    plane.relay.tail = [a_line(1, "npm install")]
    with following(client, f"{BUILD}?follow=true") as response:
        assert json.loads(response.readline())["line"] == "npm install"
        plane.loop.run(plane.change_release("my-app", 1, state="failed", message="it broke"))
        plane.push([a_line(2, "npm ERR!")])
        assert json.loads(response.readline())["line"] == "npm ERR!"
        assert response.read().strip() == b""
    plane.loop.run(plane.change_release("my-app", 1, state="pending", message=""))


def test_a_followed_release_log_of_an_ended_release_ends(plane, client):
    plane.loop.run(plane.change_release("my-app", 1, state="live"))
    plane.relay.tail = [a_line(1, "done")]
    with following(client, f"{BUILD}?follow=true") as response:
        assert json.loads(response.read())["line"] == "done"
    plane.loop.run(plane.change_release("my-app", 1, state="pending"))


def test_a_quiet_stream_is_kept_alive():
    with api_fixtures.control_plane(heartbeat_s=0.05, **MANY) as (plane, client):
        client.post("/v1/deployments", api_fixtures.NODE_APP)
        with following(client, f"{LOGS}?follow=true") as response:
            assert response.readline() == b"\n"
            plane.push([a_line(1)])
            wait_until(lambda: response.readline().startswith(b'{"seq": 1'))
        with following(client, f"{LOGS}?follow=true", Accept="text/event-stream") as response:
            assert response.readline() == b": heartbeat\n"
