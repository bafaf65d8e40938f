"""T02, T03 and the rest of the life of a login, over HTTP: refresh, reuse, logout, what ends at once, and rotated keys."""

import concurrent.futures
import contextlib
import dataclasses
import datetime
import json
import threading

import jwt
import pytest

from control_plane import clock
from control_plane.api import auth
from control_plane.domain import values
from tests import api_fixtures, waiting

MANY = {"requests_per_hour": 1_000_000, "anonymous_per_hour": 1_000_000, "logins_per_minute": 10_000, "watch_s": 0.05}
PASSWORD = "a password of ada"
NEW = "a longer horse battery"


class MovedClock(clock.SystemClock):
    """Durations stand still, and the machine's time is moved on, until the test says so."""

    def __init__(self):
        self.ahead = 0.0

    def monotonic(self):
        return self.ahead

    def now(self):
        return super().now() + datetime.timedelta(seconds=self.ahead)


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(context={"clock": MovedClock()}, **MANY) as pair:
        yield pair


@pytest.fixture
def plane(running):
    return running[0]


@pytest.fixture
def operator(running):
    return running[1]


@pytest.fixture
def ada(plane, operator):
    """A fresh user without rights: (id, email)."""
    email = f"{plane.context.ids.secret(6)}@example.com"
    made = operator.post("/v1/users", {"email": email, "password": PASSWORD})
    assert made.status == 201
    assert made.headers["location"] == f"/v1/users/{made.json['id']}"
    return made.json["id"], email


def logged_in(client, email, password=PASSWORD):
    return api_fixtures.Client(client.port).post("/v1/auth/login", {"email": email, "password": password}).json


def with_token(client, token):
    return api_fixtures.Client(client.port, token)


def is_in(client, token):
    answer = with_token(client, token).get("/v1/auth/me")
    assert answer.status in {200, 401}
    return answer.status == 200


def refreshed(client, token):
    return api_fixtures.Client(client.port).post("/v1/auth/refresh", {"refresh_token": token})


def pass_seconds(plane, seconds):
    plane.context.clock.ahead += seconds


def audited(plane, action, target=""):
    async def read():
        async with plane.store.read() as tx:
            return await tx.list_audit(None, values.AuditQuery(action=action, target=target), None, 200)

    return plane.loop.run(read())


def fam(token):
    return jwt.decode(token, options={"verify_signature": False})["fam"]


def test_a_login_answers_as_the_contract_says(operator, ada):
    made = logged_in(operator, ada[1])
    assert set(made) == {"access_token", "refresh_token", "expires_in", "token_type"}
    assert (made["expires_in"], made["token_type"]) == (3600, "Bearer")
    claims = [jwt.decode(made[name], options={"verify_signature": False}) for name in ("access_token", "refresh_token")]
    assert [one["type"] for one in claims] == ["access", "refresh"]
    assert {one["fam"] for one in claims} == {fam(made["access_token"])}
    assert claims[0]["exp"] - claims[0]["iat"] == 3600
    assert abs(claims[1]["exp"] - claims[1]["iat"] - 30 * 24 * 3600) <= 1


def test_a_refresh_token_used_again_ends_the_login_for_both_sides(plane, operator, ada):
    a = logged_in(operator, ada[1])
    b = refreshed(operator, a["refresh_token"]).json
    assert is_in(operator, b["access_token"])
    assert refreshed(operator, a["refresh_token"]).status == 401
    assert not is_in(operator, a["access_token"])
    assert not is_in(operator, b["access_token"])
    assert refreshed(operator, b["refresh_token"]).status == 401
    (row,) = audited(plane, "auth.reuse_detected", fam(a["access_token"]))
    assert (row.address, row.data) == ("127.0.0.1", {"user": ada[0]})


def test_of_eight_racing_refreshes_at_most_one_wins_and_then_nobody_is_in(plane, operator, ada):
    made = logged_in(operator, ada[1])
    barrier = threading.Barrier(8)

    def race(_):
        barrier.wait(20)
        return refreshed(operator, made["refresh_token"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(race, range(8)))
    assert sorted(answer.status for answer in answers) == [200] + [401] * 7
    won = next(answer.json for answer in answers if answer.status == 200)
    assert not is_in(operator, won["access_token"])
    assert not is_in(operator, made["access_token"])
    assert refreshed(operator, won["refresh_token"]).status == 401
    assert len(audited(plane, "auth.reuse_detected", fam(made["access_token"]))) == 1


def test_logout_ends_this_login_with_all_its_tokens_and_no_other(plane, operator, ada):
    here, there = logged_in(operator, ada[1]), logged_in(operator, ada[1])
    assert with_token(operator, here["access_token"]).post("/v1/auth/logout").status == 204
    assert not is_in(operator, here["access_token"])
    assert refreshed(operator, here["refresh_token"]).status == 401
    assert is_in(operator, there["access_token"])
    assert len(audited(plane, "auth.logout", fam(here["access_token"]))) == 1


def test_a_logout_again_is_refused_and_changes_nothing(plane, operator, ada):
    made = logged_in(operator, ada[1])
    here = with_token(operator, made["access_token"])
    assert [here.post("/v1/auth/logout").status for _ in range(2)] == [204, 401]
    assert len(audited(plane, "auth.logout", fam(made["access_token"]))) == 1


@pytest.mark.parametrize("what", ["login", "refresh", "logout", "setup"])
def test_what_concerns_logins_refuses_an_idempotency_key_and_does_nothing(operator, ada, what):
    made = logged_in(operator, ada[1])
    bodies = {
        "login": {"email": ada[1], "password": PASSWORD},
        "refresh": {"refresh_token": made["refresh_token"]},
        "setup": {"token": "0" * 64, "email": "other@example.com", "password": PASSWORD},
    }
    sent = with_token(operator, made["access_token"]).post(
        f"/v1/auth/{what}", bodies.get(what), **{"Idempotency-Key": "a-key"}
    )
    assert sent.status == 400
    assert sent.json["error"]["details"]["field"] == "Idempotency-Key"
    assert is_in(operator, made["access_token"])
    assert refreshed(operator, made["refresh_token"]).status == 200


def test_another_password_ends_every_other_login(operator, ada):
    here, there = logged_in(operator, ada[1]), logged_in(operator, ada[1])
    client = with_token(operator, here["access_token"])
    assert client.put("/v1/auth/password", {"current": PASSWORD, "new": "short"}).status == 400
    wrong = client.put("/v1/auth/password", {"current": "wrong", "new": NEW})
    assert (wrong.status, wrong.json["error"]["details"]["field"]) == (400, "current")
    assert is_in(operator, there["access_token"])
    assert client.put("/v1/auth/password", {"current": PASSWORD, "new": NEW}).status == 204
    assert not is_in(operator, there["access_token"])
    assert is_in(operator, here["access_token"])
    assert refreshed(operator, here["refresh_token"]).status == 200
    assert "access_token" in logged_in(operator, ada[1], NEW)


CHANGES = [{"disabled": True}, {"password": NEW}]


@pytest.mark.parametrize("change", CHANGES)
def test_what_an_operator_changes_acts_on_the_next_call(operator, ada, change):
    made = logged_in(operator, ada[1])
    assert is_in(operator, made["access_token"])
    assert operator.request("PATCH", f"/v1/users/{ada[0]}", change).status == 200
    assert not is_in(operator, made["access_token"])
    assert refreshed(operator, made["refresh_token"]).status == 401


def test_a_lowered_and_a_removed_operator_can_do_no_more_on_the_next_call(operator, ada):
    operator.request("PATCH", f"/v1/users/{ada[0]}", {"operator": True})
    client = with_token(operator, logged_in(operator, ada[1])["access_token"])
    assert client.get("/v1/users").status == 200
    operator.request("PATCH", f"/v1/users/{ada[0]}", {"operator": False})
    assert client.get("/v1/users").status == 403
    assert operator.delete(f"/v1/users/{ada[0]}").status == 204
    assert client.get("/v1/users").status == 401


async def _disable(tx, user, _family):
    await tx.update_user(dataclasses.replace(user, disabled=True))


async def _remove(tx, user, _family):
    await tx.delete_user(user.id)


async def _make_invalid(tx, user, _family):
    ahead = datetime.datetime.now(datetime.UTC).timestamp() + 5
    await tx.update_user(dataclasses.replace(user, valid_from=ahead))


async def _revoke(tx, _user, family):
    await tx.revoke_family(family)


@pytest.mark.parametrize("change", [_disable, _remove, _make_invalid, _revoke])
def test_what_another_process_changed_acts_within_five_seconds(plane, operator, ada, change):
    made = logged_in(operator, ada[1])
    assert is_in(operator, made["access_token"])

    async def elsewhere():
        async with plane.store.write() as tx:
            await change(tx, await tx.get_user(ada[0]), fam(made["access_token"]))

    plane.loop.run(elsewhere())
    pass_seconds(plane, 4.9)
    assert not is_in(operator, made["access_token"])


def test_who_lost_a_role_or_comes_with_less_gets_no_answer_of_before_repeated(operator, ada):
    client = with_token(operator, logged_in(operator, ada[1])["access_token"])
    name = f"p-{ada[0][-8:].lower()}"
    project = client.post("/v1/projects", {"name": name}).json["id"]
    assert client.post("/v1/deployments", {**api_fixtures.NODE_APP, "name": name, "project": name}).status == 201
    path, key = f"/v1/deployments/{name}/hook", {"Idempotency-Key": "1"}
    made = client.post(path, **key)
    assert made.status == 201
    assert client.post(path, **key).json == made.json
    scopes = {"name": "looker", "scopes": ["deployment:read"]}
    looker = with_token(operator, client.post("/v1/tokens", scopes).json["token"])
    assert looker.post(path, **key).status == 403
    me = operator.get("/v1/auth/me").json["id"]
    operator.put(f"/v1/projects/{project}/members/{me}", {"role": "owner"})
    assert operator.put(f"/v1/projects/{project}/members/{ada[0]}", {"role": "viewer"}).status == 200
    assert client.post(path, **key).status == 403
    assert operator.delete(f"/v1/projects/{project}/members/{ada[0]}").status == 204
    assert client.post(path, **key).status == 404


def test_a_role_that_another_process_lowered_is_lower_within_five_seconds(plane, operator, ada):
    async def elsewhere(**changes):
        async with plane.store.write() as tx:
            await tx.update_user(dataclasses.replace(await tx.get_user(ada[0]), **changes))

    plane.loop.run(elsewhere(operator=True))
    client = with_token(operator, logged_in(operator, ada[1])["access_token"])
    assert client.get("/v1/users").status == 200
    plane.loop.run(elsewhere(operator=False))
    pass_seconds(plane, 4.9)
    assert client.get("/v1/users").status == 403


class TestPersonalTokens:
    def made(self, client, **body):
        answer = client.post("/v1/tokens", {"name": "ci", **body})
        assert (answer.status, answer.headers["location"]) == (201, f"/v1/tokens/{answer.json['id']}")
        return answer.json

    def test_one_acts_for_its_user_until_it_is_revoked(self, plane, operator, ada):
        client = with_token(operator, logged_in(operator, ada[1])["access_token"])
        token = self.made(client)
        personal = with_token(operator, token["token"])
        assert personal.get("/v1/auth/me").json["id"] == ada[0]
        (listed,) = client.get("/v1/tokens").json["data"]
        assert "token" not in listed
        assert listed["last_used_at"] is not None
        assert client.get(f"/v1/tokens/{token['id']}").json == listed
        assert operator.get(f"/v1/tokens/{token['id']}").status == 404
        assert operator.delete(f"/v1/tokens/{token['id']}").status == 404
        assert client.delete(f"/v1/tokens/{token['id']}").status == 204
        assert personal.get("/v1/auth/me").status == 401
        assert len(audited(plane, "token.revoked", token["id"])) == 1

    def test_one_stays_within_its_scopes(self, operator):
        personal = with_token(operator, self.made(operator, scopes=["user:read", "token:write"])["token"])
        assert personal.get("/v1/users").status == 200
        assert personal.post("/v1/users", {"email": "x@example.com", "password": PASSWORD}).status == 403
        assert personal.get("/v1/tokens").status == 403
        assert personal.post("/v1/tokens", {"name": "wide", "scopes": ["user:write"]}).status == 403
        assert personal.post("/v1/tokens", {"name": "same"}).json["scopes"] == ["token:write", "user:read"]
        assert personal.put("/v1/auth/password", {"current": PASSWORD, "new": NEW}).status == 403
        assert personal.post("/v1/auth/logout").status == 403

    def test_one_that_can_do_less_repeats_no_answer_of_its_user(self, plane, operator, ada):
        """A key is easily guessed, and an answer may hold a secret that was shown once."""
        client = with_token(operator, logged_in(operator, ada[1])["access_token"])
        key = {"Idempotency-Key": "1"}
        made = client.post("/v1/tokens", {"name": "wide"}, **key).json
        narrow = with_token(operator, self.made(client, scopes=["token:write"])["token"])
        short = with_token(operator, self.made(client, expires_in=60)["token"])
        for personal in (narrow, short):
            again = personal.post("/v1/tokens", {"name": "wide"}, **key)
            assert "idempotency-replayed" not in again.headers
            assert again.json.get("token") != made["token"]
        assert client.post("/v1/tokens", {"name": "wide"}, **key).json == made

    def test_one_ends_with_its_time_its_user_and_its_user_s_rights(self, plane, operator, ada):
        client = with_token(operator, logged_in(operator, ada[1])["access_token"])
        short = with_token(operator, self.made(client, expires_in=60)["token"])
        until = (plane.context.clock.now() + datetime.timedelta(seconds=60)).isoformat()
        dated = with_token(operator, self.made(client, expires_at=until)["token"])
        lasting = with_token(operator, self.made(client)["token"])
        ask = lambda: [one.get("/v1/auth/me").status for one in (short, dated, lasting)]  # noqa: E731
        assert ask() == [200, 200, 200]
        pass_seconds(plane, 61)
        assert ask() == [401, 401, 200]
        operator.request("PATCH", f"/v1/users/{ada[0]}", {"disabled": True})
        assert ask() == [401, 401, 401]

    def test_several_faults_are_told_at_once(self, operator):
        answer = operator.post("/v1/tokens", {"name": "", "expires_in": -1})
        assert [one["field"] for one in answer.json["error"]["details"]["errors"]] == ["name", "expires_in"]
        for bad in ({"expires_at": 7}, {"expires_at": "soon"}, {"expires_in": "7"}, {"scopes": "all"}, {"id": "tok_1"}):
            assert operator.post("/v1/tokens", {"name": "ci", **bad}).status == 400


class TestUsers:
    def test_a_change_asks_for_the_generation_that_it_means(self, operator, ada):
        path = f"/v1/users/{ada[0]}"
        assert operator.get(path).headers["etag"] == '"1"'
        stale = operator.request("PATCH", path, {"operator": True}, {"If-Match": '"7"'})
        assert stale.status == 412
        changed = operator.request("PATCH", path, {"operator": True}, {"If-Match": '"1"'})
        assert (changed.status, changed.headers["etag"]) == (200, '"2"')
        assert operator.request("DELETE", path, headers={"If-Match": '"1"'}).status == 412
        assert operator.request("DELETE", path, headers={"If-Match": '"2"'}).status == 204
        assert operator.get(path).status == 404

    def test_a_repeated_creation_is_one_and_the_stored_digest_of_it_is_keyed(self, plane, operator):
        body = {"email": f"{plane.context.ids.secret(6)}@example.com", "password": PASSWORD}
        answers = [operator.post("/v1/users", body, **{"Idempotency-Key": "make-ada"}) for _ in range(2)]
        assert [answer.status for answer in answers] == [201, 201]
        assert answers[0].json == answers[1].json
        assert answers[1].headers["idempotency-replayed"] == "true"
        other = operator.post("/v1/users", {**body, "password": "another password"}, **{"Idempotency-Key": "make-ada"})
        assert other.status == 422
        fresh = api_fixtures.Client(operator.port, plane.token())
        assert fresh.post("/v1/users", body).status == 409

    def test_faults_are_told_at_once_and_nothing_else_is_taken(self, operator, ada):
        answer = operator.post("/v1/users", {"email": "nobody", "password": "short"})
        assert [one["field"] for one in answer.json["error"]["details"]["errors"]] == ["email", "password"]
        for bad in ({"id": "usr_1"}, {"disabled": None}, {"operator": "yes"}, {"generation": 9}, {"valid_from": 0}):
            assert operator.request("PATCH", f"/v1/users/{ada[0]}", bad).status == 400

    def test_the_last_operator_stays_one(self, operator):
        me = operator.get("/v1/auth/me").json["id"]
        for other in operator.get("/v1/users?limit=200").json["data"]:
            if other["operator"] and other["id"] != me:
                operator.request("PATCH", f"/v1/users/{other['id']}", {"operator": False})
        for change in ({"operator": False}, {"disabled": True}):
            assert operator.request("PATCH", f"/v1/users/{me}", change).status == 409
        assert operator.delete(f"/v1/users/{me}").status == 409


class TestStreams:
    """A log that is followed when its reader loses the right to read it."""

    @pytest.fixture
    def member(self, plane, operator, ada):
        if operator.get("/v1/deployments/my-app").status == 404:
            assert operator.post("/v1/deployments", api_fixtures.NODE_APP).status == 201
        plane.loop.run(self.joined(plane, ada[0], "viewer"))
        plane.loop.run(plane.services.instances.connected(plane.instance.id, "0.1.0", "boot", {}))
        plane.relay.reset()
        plane.relay.tail = [api_fixtures.a_line(1, "one")]
        yield with_token(operator, logged_in(operator, ada[1])["access_token"])
        waiting.wait_until(lambda: plane.relay.closed == len(plane.relay.queues), what="every log closed")

    async def joined(self, plane, user, role):
        async with plane.store.write() as tx:
            project = await tx.find_project("default")
            await tx.put_member(values.Member(project.id, user, role, plane.context.clock.now()))

    async def left(self, plane, user):
        async with plane.store.write() as tx:
            project = await tx.find_project("default")
            await tx.delete_member(project.id, user)

    def follow(self, plane, client, change):
        """The log's first line, then `change`, then its end."""
        with contextlib.closing(client.open("GET", "/v1/services/my-app/logs?follow=true")) as connection:
            response = connection.getresponse()
            assert response.status == 200
            assert json.loads(response.readline())["line"] == "one"
            change()
            assert response.read() == b""

    def test_it_ends_with_a_logout(self, plane, member):
        self.follow(plane, member, lambda: member.post("/v1/auth/logout"))

    def test_it_ends_when_the_user_is_disabled(self, plane, operator, ada, member):
        path = f"/v1/users/{ada[0]}"
        self.follow(plane, member, lambda: operator.request("PATCH", path, {"disabled": True}))

    def test_it_ends_when_another_process_took_the_membership_away(self, plane, ada, member):
        def change():
            plane.loop.run(self.left(plane, ada[0]))
            pass_seconds(plane, 2)

        self.follow(plane, member, change)

    def test_it_ends_with_the_personal_token_that_follows_it(self, plane, operator, member):
        made = member.post("/v1/tokens", {"name": "ci"}).json
        personal = with_token(operator, made["token"])
        self.follow(plane, personal, lambda: member.delete(f"/v1/tokens/{made['id']}"))

    def test_it_goes_on_while_nothing_changes(self, plane, member):
        with contextlib.closing(member.open("GET", "/v1/services/my-app/logs?follow=true")) as connection:
            response = connection.getresponse()
            assert json.loads(response.readline())["line"] == "one"
            asked = len(plane.relay.queues)
            for number in range(2, 6):
                plane.push([api_fixtures.a_line(number, "more")])
                assert json.loads(response.readline())["seq"] == number
            assert len(plane.relay.queues) == asked
            plane.push(None)
            assert response.read() == b""


def test_a_rotated_signing_key_signs_at_once_where_it_is_met_and_logs_nobody_out(plane, operator, ada):
    before = logged_in(operator, ada[1])
    new = plane.loop.run(plane.services.accounts.signing.rotate())  # as another process does
    pass_seconds(plane, auth.FRESH_S)
    after = logged_in(operator, ada[1])
    assert jwt.get_unverified_header(after["access_token"])["kid"] == new.kid
    assert is_in(operator, before["access_token"])
    assert is_in(operator, after["access_token"])
    assert refreshed(operator, before["refresh_token"]).status == 200


def test_a_token_of_a_key_that_is_not_known_yet_makes_the_daemon_look(plane, operator):
    plane.loop.run(plane.services.accounts.signing.rotate())
    pass_seconds(plane, auth.UNKNOWN_S)
    assert is_in(operator, plane.token())


def test_a_request_asks_the_database_for_its_caller_only_now_and_then(plane, operator, ada, monkeypatch):
    client = with_token(operator, logged_in(operator, ada[1])["access_token"])
    asked = []
    sessions = type(plane.services.accounts.sessions)
    original = sessions.of_login

    async def counted(self, *args):
        asked.append(args)
        return await original(self, *args)

    monkeypatch.setattr(sessions, "of_login", counted)
    assert [client.get("/v1/auth/me").status for _ in range(20)] == [200] * 20
    assert len(asked) == 1


def test_with_the_older_keys_forgotten_everybody_logs_in_again_within_five_seconds(plane, operator, ada):
    """A busy client too: what the keys are remembered for, and what was checked with them, add up."""
    before = logged_in(operator, ada[1])
    pass_seconds(plane, 60)
    assert is_in(operator, before["access_token"])  # the keys are read now
    plane.loop.run(plane.services.accounts.signing.rotate(forget_older=True))  # as another process does
    for _ in range(50):
        pass_seconds(plane, 0.1)
        is_still_in = is_in(operator, before["access_token"])
    assert not is_still_in
    assert refreshed(operator, before["refresh_token"]).status == 401
    assert is_in(operator, logged_in(operator, ada[1])["access_token"])
