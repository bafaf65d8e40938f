"""T06: guessing passwords, trying one password at many accounts, and finding out who has one."""

import collections
import concurrent.futures
import json
import threading

import argon2
import pytest

from control_plane.domain import values
from control_plane.services import passwords
from tests import api_fixtures

UNKNOWN = "nobody@example.com"


@pytest.fixture
def running():
    with api_fixtures.control_plane(trusted_hops=1) as pair:
        yield pair


@pytest.fixture
def flooded():
    with api_fixtures.control_plane(trusted_hops=1, requests_per_hour=1_000_000, anonymous_per_hour=1_000_000) as pair:
        yield pair


def guess(client, address, email, password="wrong password"):
    return api_fixtures.Client(client.port).post(
        "/v1/auth/login", {"email": email, "password": password}, **{"X-Forwarded-For": address}
    )


def shown(answer):
    body = answer.json
    body.pop("request_id")
    return json.dumps(body)


def test_500_logins_from_50_addresses_find_nothing_and_stop_nobody(flooded):
    plane, client = flooded
    plane.services.accounts.passwords._hasher = argon2.PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
    known, password = "ada@example.com", "a password of ada"
    assert client.post("/v1/users", {"email": known, "password": password}).status == 201
    answers, others, done = collections.defaultdict(list), [], threading.Event()

    def attack(number):
        address = f"198.51.100.{number}"
        for turn in range(10):
            email = UNKNOWN if turn % 2 else known
            answer = guess(client, address, email)
            while answer.status == 429 and "too many are being checked" in answer.text:
                answers["busy"].append(answer)
                answer = guess(client, address, email)
            answers[email, address].append(answer)

    def work():
        while not done.is_set():
            others.append(client.get("/v1/deployments").status)

    with concurrent.futures.ThreadPoolExecutor(13) as pool:
        working = pool.submit(work)
        for attacker in [pool.submit(attack, number) for number in range(50)]:
            attacker.result()
        done.set()
        working.result()
    busy = answers.pop("busy", [])
    refused = [answer for kept in answers.values() for answer in kept]
    assert len(refused) == 500
    assert {answer.status for answer in refused} == {401}
    assert len({shown(answer) for answer in refused}) == 1
    assert {answer.headers.get("retry-after") for answer in busy} <= {"1"}
    assert set(others) == {200}
    assert guess(client, "203.0.113.1", known, password).status == 200


def test_an_account_takes_five_wrong_passwords_a_minute_from_one_network(running):
    _, client = running
    statuses = [guess(client, "198.51.100.1", email).status for email in [api_fixtures.EMAIL] * 7]
    assert statuses == [401] * 5 + [429] * 2
    assert guess(client, "198.51.100.1", f"  {api_fixtures.EMAIL.upper()} ").status == 429
    assert guess(client, "198.51.100.1", UNKNOWN).status == 401
    assert guess(client, "198.51.100.2", api_fixtures.EMAIL, api_fixtures.PASSWORD).status == 200


def test_one_password_at_many_accounts_is_stopped_by_network(running):
    _, client = running
    statuses = [guess(client, f"2001:db8::{n}", f"user{n}@example.com").status for n in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert guess(client, "2001:db8:1::1", "user1@example.com").status == 401


def test_the_password_of_an_open_session_is_not_guessed_in_it(running):
    _, client = running
    wrong = {"current": "a guess of it", "new": "a longer horse battery"}
    assert [client.put("/v1/auth/password", wrong).status for _ in range(7)] == [400] * 5 + [429] * 2


def test_more_checks_than_there_is_room_for_are_429_and_nothing_else_waits(running):
    plane, client = running
    hold = threading.Event()
    checking = plane.services.accounts.passwords
    slow = checking._hasher

    class Held:
        """argon2 that does not end before the test says so."""

        def verify(self, stored, password):
            hold.wait(20)
            return slow.verify(stored, password)

        def __getattr__(self, name):
            return getattr(slow, name)

    checking._hasher = Held()
    room = passwords.AT_ONCE + passwords.QUEUE
    with concurrent.futures.ThreadPoolExecutor(room + 3) as pool:
        tries = [
            pool.submit(guess, client, f"198.51.100.{n}", api_fixtures.EMAIL, api_fixtures.PASSWORD)
            for n in range(room + 3)
        ]
        done = concurrent.futures.wait(tries, 20, concurrent.futures.FIRST_COMPLETED).done
        assert {one.result().status for one in done} == {429}
        assert client.get("/v1/deployments").status == 200
        hold.set()
        statuses = collections.Counter(one.result().status for one in tries)
    assert statuses == {200: room, 429: 3}


def test_refused_and_accepted_logins_are_written_down_with_their_address_and_no_password(running):
    plane, client = running
    guess(client, "198.51.100.9", UNKNOWN, "hunter2hunter2")
    guess(client, "198.51.100.8", api_fixtures.EMAIL, api_fixtures.PASSWORD)

    async def read():
        async with plane.store.read() as tx:
            return await tx.list_audit(None, values.AuditQuery(), None, 50)

    rows = {row.action: row for row in plane.loop.run(read())}
    assert (rows["auth.login_refused"].address, rows["auth.login_refused"].data) == ("198.51.100.9", {"email": UNKNOWN})
    assert (rows["auth.login"].address, rows["auth.login"].actor_name) == ("198.51.100.8", api_fixtures.EMAIL)
    assert "hunter2" not in repr(rows)
    assert api_fixtures.PASSWORD not in repr(rows)
