"""T06: five hundred logins from fifty addresses of a real network at a real control plane.

The control plane and those who guess are in network namespaces of their own, joined by a cable; what is limited by
address is limited by the address of the connection.
"""

import contextlib
import dataclasses
import http.client
import json
import re
import time

import pytest

from tests import api_fixtures, namespaces, running_plane
from tests.matrix_routes import form

SERVER, PORT = "10.99.0.1", 8080
ADDRESSES = [f"10.99.0.{100 + number}" for number in range(50)]
HONEST = "10.99.0.99"
EACH, SPRAYED = 10, 20  # logins of an address at one account, and at as many others as accounts
BY_ACCOUNT, BY_NETWORK = 5, 20  # failures in a minute
KNOWN, DISABLED, UNKNOWN = "ada@example.test", "old@example.test", "nobody@example.test"
PASSWORD = "a password of hers"
WINDOW_S = 60


@dataclasses.dataclass
class Siege:
    """What the attackers were told, by address and account; `busy` is what they were told to repeat."""

    told: dict
    busy: list
    beside: list
    elapsed_s: float
    afterwards: list

    @property
    def windows(self):
        """How many windows can have been open at one account or address: 1 on all but a very slow machine."""
        return 1 + int(self.elapsed_s // WINDOW_S)


def log_in(address, email, password):
    body = json.dumps({"email": email, "password": password})
    connection = http.client.HTTPConnection(SERVER, PORT, timeout=60, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return api_fixtures.Answer(response, response.read())


def insist(address, email, password, busy):
    """The answer about that login; one about the crowd is no answer yet."""
    while "too many are being checked" in (answer := log_in(address, email, password)).text:
        busy.append(answer)
    return answer


def attack(number, busy):
    """All at one account in turn; the first five addresses then try one password at many."""
    address, account = ADDRESSES[number], (KNOWN, DISABLED, UNKNOWN)[number % 3]
    told = {(address, account): [insist(address, account, "wrong " + PASSWORD, busy) for _ in range(EACH)]}
    if number < 5:
        others = [f"spray{turn}@example.test" for turn in range(SPRAYED)]
        told[address, "others"] = [insist(address, other, PASSWORD, busy) for other in others]
    return told


def besieged(plane, pool):
    for email in (KNOWN, DISABLED):
        made = plane.must("POST", "/v1/users", {"email": email, "password": PASSWORD})
    plane.must("PATCH", f"/v1/users/{made['id']}", {"disabled": True})
    busy, beside, told = [], [], {}
    begun = time.monotonic()
    attackers = [pool.submit(attack, number, busy) for number in range(len(ADDRESSES))]
    while not all(attacker.done() for attacker in attackers):
        beside.append(plane.call("GET", "/v1/deployments").status)
    for attacker in attackers:
        told |= attacker.result()
    afterwards = [pool.submit(log_in, one, KNOWN, PASSWORD).result().status for one in (HONEST, ADDRESSES[0])]
    return Siege(told, busy, beside, time.monotonic() - begun, afterwards)


@pytest.fixture(scope="module")
def siege(tmp_path_factory):
    directory = tmp_path_factory.mktemp("siege")

    def story(pool):
        with running_plane.running(directory, PORT, "--api", f"0.0.0.0:{PORT}") as plane:
            found = besieged(plane, pool)
            plane.stop()
            return found

    with namespaces.cable([SERVER], [HONEST, *ADDRESSES]) as (inside, outside), outside.pool(len(ADDRESSES)) as pool:
        yield inside.run(story, pool)


def statuses(siege, which):
    return {place: [answer.status for answer in told] for place, told in siege.told.items() if which(place[1])}


def test_an_account_takes_as_many_failures_from_an_address_as_it_may(siege):
    found = statuses(siege, lambda account: account != "others")
    assert sum(map(len, found.values())) == 500
    if siege.windows == 1:
        assert set(map(tuple, found.values())) == {(401,) * BY_ACCOUNT + (429,) * (EACH - BY_ACCOUNT)}
    assert all(told.count(401) <= BY_ACCOUNT * siege.windows for told in found.values())
    assert {status for told in found.values() for status in told} <= {401, 429}


def test_an_address_fails_at_as_many_accounts_as_it_may(siege):
    found = statuses(siege, lambda account: account == "others")
    assert len(found) == 5
    left = BY_NETWORK - BY_ACCOUNT
    if siege.windows == 1:
        assert set(map(tuple, found.values())) == {(401,) * left + (429,) * (SPRAYED - left)}
    assert all(told.count(401) <= BY_NETWORK * siege.windows for told in found.values())


def test_the_answer_is_the_same_for_every_account(siege):
    """Whether it is known, disabled or unknown: while it is refused, and when it is too much."""
    answers = [answer for told in siege.told.values() for answer in told]
    refused = {repr(form(answer, [])) for answer in answers if answer.status == 401}
    limited = {
        re.sub(r"in \d+ s|'(retry-after|content-length)': '\d+'", "", repr(form(answer, [])))
        for answer in answers
        if answer.status == 429
    }
    assert (len(refused), len(limited)) == (1, 1), (refused, limited)
    assert all(1 <= int(answer.headers["retry-after"]) <= WINDOW_S for answer in answers if answer.status == 429)


def test_more_than_there_is_room_for_are_told_to_come_again(siege):
    """Fifty come at once, and at most ten of them are let in: two are compared, eight wait."""
    assert siege.busy
    assert {(answer.status, answer.headers["retry-after"]) for answer in siege.busy} == {(429, "1")}


def test_everybody_else_goes_on(siege):
    assert set(siege.beside) == {200}
    honest, attacker = siege.afterwards
    assert honest == 200
    if siege.windows == 1:
        assert attacker == 429
