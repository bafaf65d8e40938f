"""T01 and T06: nobody learns from a refused login why it was refused, neither from the answer nor from the work behind it.

The work is what argon2 is asked, two at once at most, and what the database is asked; nothing is timed.
"""

import collections
import concurrent.futures
import threading

import pytest

from control_plane.services import passwords
from tests import api_fixtures, matrix_fixtures, statements
from tests.matrix_routes import form

EMAIL, DISABLED, UNKNOWN = "ada@example.test", "old@example.test", "nun@example.test"  # equally long
PASSWORD = "a password of hers"
REFUSED = {
    "an unknown user": (UNKNOWN, "wrong " + PASSWORD),
    "a wrong password": (EMAIL, "wrong " + PASSWORD),
    "a disabled user": (DISABLED, "wrong " + PASSWORD),
    "a disabled user with the right password": (DISABLED, PASSWORD),
}


class Counted:
    """argon2, and what it was asked; `most` at once."""

    def __init__(self, hasher):
        self._hasher, self._lock = hasher, threading.Lock()
        self.asked = collections.Counter()
        self._now = self.most = 0

    def __getattr__(self, name):
        return getattr(self._hasher, name)

    def hash(self, password):
        return self._counted("hash", password)

    def verify(self, stored, password):
        return self._counted("verify", stored, password)

    def _counted(self, what, *given):
        with self._lock:
            self.asked[what] += 1
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            return getattr(self._hasher, what)(*given)
        finally:
            with self._lock:
                self._now -= 1


@pytest.fixture
def running(tmp_path):
    database = tmp_path / "control-plane.db"
    with api_fixtures.control_plane(database=database, trusted_hops=1, **matrix_fixtures.MANY) as (plane, client):
        for email in (EMAIL, DISABLED):
            assert client.post("/v1/users", {"email": email, "password": PASSWORD}).status == 201
        disabled = client.get("/v1/users").json["data"][-1]
        assert client.request("PATCH", f"/v1/users/{disabled['id']}", {"disabled": True}).status == 200
        checking = plane.services.accounts.passwords
        checking._hasher = Counted(checking._hasher)
        yield plane, api_fixtures.Client(client.port), checking._hasher


def log_in(client, email, password, address="198.51.100.1"):
    return client.post("/v1/auth/login", {"email": email, "password": password}, **{"X-Forwarded-For": address})


def test_every_refused_login_gets_one_answer_for_the_same_work(running):
    """From the first one after the start: nothing is prepared for unknown users only when one comes."""
    _plane, client, hasher = running
    answers, work = {}, {}
    for reason, (email, password) in REFUSED.items():
        hasher.asked.clear()
        with statements.executed() as told:
            answers[reason] = form(log_in(client, email, password), [])
        work[reason] = (dict(hasher.asked), told)
    first = "an unknown user"
    assert answers[first][0] == 401
    assert answers == dict.fromkeys(REFUSED, answers[first])
    assert work[first][0] == {"verify": 1}
    assert work == dict.fromkeys(REFUSED, work[first])


def test_the_work_of_a_login_that_is_accepted_is_another(running):
    """The measure itself."""
    _plane, client, hasher = running
    with statements.executed() as refused:
        assert log_in(client, EMAIL, "wrong " + PASSWORD).status == 401
    with statements.executed() as accepted:
        assert log_in(client, EMAIL, PASSWORD).status == 200
    assert hasher.asked == {"verify": 2}
    assert refused
    assert accepted != refused


def test_a_crowd_of_logins_is_compared_two_at_a_time(running):
    _, client, hasher = running
    crowd = [(email, password, f"198.51.100.{n}") for n, (email, password) in enumerate([*REFUSED.values()] * 4)]
    with concurrent.futures.ThreadPoolExecutor(len(crowd)) as pool:
        answers = list(pool.map(lambda one: log_in(client, *one), crowd))
    statuses = collections.Counter(answer.status for answer in answers)
    assert set(statuses) <= {401, 429}
    assert hasher.asked == {"verify": statuses[401]}
    assert hasher.most <= passwords.AT_ONCE
