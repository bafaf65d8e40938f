"""`/v1/services/:id/env` over real HTTP; every answer is held against the contract."""

import pytest

from tests import api_fixtures

ENV = "/v1/services/my-app/env"


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(requests_per_hour=1_000_000) as pair:
        yield pair


@pytest.fixture
def client(running):
    _, made = running
    assert made.post("/v1/deployments", api_fixtures.NODE_APP).status in {201, 409}
    assert (
        made.put(
            ENV, {"variables": [{"key": "A", "value": "1"}, {"key": "S", "value": "hidden-7", "secret": True}]}
        ).status
        == 200
    )
    return made


def release(client):
    return client.get("/v1/deployments/my-app").json["release"]


def test_a_new_variable_is_created_and_a_known_one_changed(client):
    made = client.post(ENV, {"key": "NODE_ENV", "value": "production"})
    assert (made.status, made.json) == (201, {"key": "NODE_ENV", "value": "production", "secret": False})
    assert client.get(made.headers["location"]).json == made.json
    again = client.post(ENV, {"key": "NODE_ENV", "value": "test", "secret": False})
    assert (again.status, again.json["value"]) == (200, "test")
    assert "location" not in again.headers


def test_a_secret_goes_in_and_never_out(client):
    assert client.get(ENV).json["data"] == [
        {"key": "A", "value": "1", "secret": False},
        {"key": "S", "value": None, "secret": True},
    ]
    assert client.get(f"{ENV}/S").json == {"key": "S", "value": None, "secret": True}
    answers = [
        client.post(ENV, {"key": "S", "value": "hidden-7", "secret": True}),
        client.post(ENV, {"key": "S", "secret": False}),
        client.post(f"{ENV}?dry_run=true", {"key": "S", "value": "hidden-8"}),
        client.get(f"{ENV}/history"),
    ]
    assert [answer.status for answer in answers] == [200, 400, 200, 200]
    assert not any(b"hidden" in answer.body for answer in answers)


def test_the_list_that_was_read_may_be_written_back(client):
    before, number = client.get(ENV).json["data"], release(client)
    answer = client.put(ENV, {"variables": before})
    assert (answer.status, answer.json["data"]) == (200, before)
    assert release(client) == number


def test_numbers_and_booleans_become_strings(client):
    for value, text in ((1, "1"), (1.5, "1.5"), (True, "true")):
        assert client.post(ENV, {"key": "N", "value": value}).json["value"] == text
    assert client.post(ENV, {"key": "N", "value": {"a": 1}}).json["error"]["details"]["field"] == "value"


def test_several_faults_are_told_together_and_nothing_is_done(client):
    body = {"variables": [{"key": "1", "value": "x"}, {"key": "PATH", "value": "x"}, {"key": "B"}]}
    answer = client.put(ENV, body)
    assert answer.status == 400
    fields = [one["field"] for one in answer.json["error"]["details"]["errors"]]
    assert fields == ["variables.0.key", "variables.1.key", "variables.2.value"]
    assert [one["key"] for one in client.get(ENV).json["data"]] == ["A", "S"]


def test_a_variable_is_deleted_once(client):
    assert client.delete(f"{ENV}/A").status == 204
    assert client.delete(f"{ENV}/A").status == 404
    assert client.delete(f"{ENV}/no%20key").status == 404


def test_next_waits_for_the_next_release(client):
    number = release(client)
    assert client.post(f"{ENV}?apply=next", {"key": "L", "value": "1"}).status == 201
    assert client.delete(f"{ENV}/L?apply=next").status == 204
    assert client.put(f"{ENV}?apply=next", {"variables": []}).status == 200
    assert release(client) == number
    assert client.post(ENV, {"key": "L", "value": "2"}).status == 201
    assert release(client) == number + 1
    assert client.post(f"{ENV}?apply=later", {"key": "L", "value": "1"}).json["error"]["details"]["field"] == "apply"


def test_a_change_of_an_old_generation_is_refused(client):
    tag = client.get(ENV).headers["etag"]
    changed = client.post(f"{ENV}?apply=next", {"key": "A", "value": "2"}, **{"If-Match": tag})
    assert changed.status == 200
    assert client.post(ENV, {"key": "A", "value": "3"}, **{"If-Match": tag}).status == 412
    assert client.request("DELETE", f"{ENV}/A", headers={"If-Match": changed.headers["etag"]}).status == 204


def test_a_repeated_key_makes_one_release(client):
    number = release(client)
    answers = [client.post(ENV, {"key": "I", "value": "1"}, **{"Idempotency-Key": "env-1"}) for _ in range(3)]
    assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
    assert release(client) == number + 1


def test_a_dry_run_says_what_would_change(client):
    number = release(client)
    answer = client.post(f"{ENV}?dry_run=true", {"key": "D", "value": "1"})
    assert answer.status == 200
    assert f"set D of my-app: release {number + 1}" in answer.text
    assert client.get(f"{ENV}/D").status == 404
    assert release(client) == number


def test_the_history_is_filtered_and_has_no_values(client):
    client.post(ENV, {"key": "H", "value": "told"})
    client.delete(f"{ENV}/H")
    lines = client.get(f"{ENV}/history?key=H&limit=2").json["data"]
    assert [(line["action"], line["key"], line["secret"]) for line in lines] == [
        ("deleted", "H", False),
        ("set", "H", False),
    ]
    assert all("value" not in line for line in lines)
    assert client.get(f"{ENV}/history?cursor=zz!").status == 400
