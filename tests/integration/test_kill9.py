"""Whatever is asked of the control plane, and whenever it is killed: what it acknowledged is there, once and whole.

Four clients change things at random while the real process is killed and started again. After each kill an oracle with
code of its own reads the database file. KILL9_SEED replays the choices; TEST_ALL=1 kills 200 times.
"""

import json
import os
import random
import secrets
import threading
import urllib.request

import pytest

from tests import kill9_fixtures
from tests.waiting import wait_until

KILLS = 200 if os.environ.get("TEST_ALL") else 10
CLIENTS = 4


@pytest.fixture
def seed():
    chosen = os.environ.get("KILL9_SEED") or secrets.token_hex(4)
    print(f"KILL9_SEED={chosen}")
    return chosen


@pytest.fixture
async def daemon(tmp_path):
    made = kill9_fixtures.Daemon(tmp_path)
    await made.prepare()
    yield made
    made.kill()


def logged_in(daemon):
    body = json.dumps({"email": kill9_fixtures.EMAIL, "password": kill9_fixtures.PASSWORD}).encode()
    address = f"http://127.0.0.1:{daemon.port}/v1/auth/login"
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["access_token"]


class Trial:
    """The clients with the gate before them, and the oracle behind."""

    def __init__(self, seed, daemon):
        self.chance, self.daemon = random.Random(seed), daemon
        self.gate, self.oracle = kill9_fixtures.Gate(), kill9_fixtures.Oracle(daemon)
        daemon.start()
        token = logged_in(daemon)
        self.clients = [kill9_fixtures.Client(n, seed, daemon, self.gate, token) for n in range(CLIENTS)]

    @property
    def acknowledged(self):
        return sum(len(client.done) for client in self.clients)

    def run(self, kills):
        self.gate.open()
        for client in self.clients:
            client.start()
        try:
            for _ in range(kills):
                self._kill_somewhere()
        except BaseException:
            for client in self.clients:
                client.give_up.set()
            raise
        finally:
            self._end()

    def _kill_somewhere(self):
        wanted = self.acknowledged + self.chance.randint(2, 30)
        wait_until(lambda: self.faults() or self.acknowledged >= wanted, 60, "progress")
        threading.Event().wait(self.chance.uniform(0, 0.03))  # not to synchronise: any moment is a good one
        self.daemon.kill()
        self._look()
        while self.chance.random() < 0.1:
            self.daemon.begin()
            threading.Event().wait(self.chance.uniform(0, 2))  # the same, during the start
            self.daemon.kill()
        self.daemon.start()
        self.gate.open()

    def _look(self):
        """The file, while everybody waits."""
        alive = [client for client in self.clients if not client.fault]
        self.gate.close(len(alive))
        assert self.faults() == []
        assert self.oracle.check(self.clients) == []

    def _end(self):
        for client in self.clients:
            client.stop.set()
        self.gate.open()
        for client in self.clients:
            client.join()

    def faults(self):
        return [client.fault for client in self.clients if client.fault]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_survives_every_kill(seed, daemon):
    trial = Trial(seed, daemon)
    trial.run(KILLS)
    for client in trial.clients:
        for request in client.done[-25:]:
            client.replay(request)
    daemon.kill()
    assert trial.faults() == []
    assert trial.oracle.check(trial.clients) == []
    assert all(client.pending is None for client in trial.clients)
    kinds = {request.kind for client in trial.clients for request in client.done}
    print(f"{KILLS} kills, {trial.acknowledged} acknowledged changes, {len(kinds)} kinds")
    assert len(kinds) > 5
