"""How long refusals take that must not be told apart: what is foreign beside what is missing, and logins of two kinds.

Asked in turn over one connection, so that both meet the same machine; medians. Called by api.py.
"""

import contextlib
import http.client
import itertools
import json
import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dployr.client import Client

OBJECTS, LOGINS = 1000, 100  # of each kind
STRANGER, PASSWORD = "stranger@example.test", "a password of a stranger"
Request = tuple[str, str, str, dict[str, str]]


def foreign(port: int, operator: Client, service_ids: Sequence[str]) -> tuple[float, float]:
    """ms for a service of a project that the caller has no role in, and for one that does not exist."""
    operator.users.create(email=STRANGER, password=PASSWORD)
    with contextlib.closing(Client(f"http://127.0.0.1:{port}")) as stranger:
        stranger.login(STRANGER, PASSWORD)
        headers = {"Authorization": f"Bearer {stranger.token}"}

    def asking(ids: Sequence[str]) -> Callable[[], Request]:
        turn = itertools.cycle(ids)
        return lambda: ("GET", f"/v1/services/{next(turn)}", "", headers)

    missing = [f"{one[:-8]}{secrets.token_hex(4).upper()}" for one in service_ids]
    return medians(port, 404, OBJECTS, asking(service_ids), asking(missing))


def logins(port: int, email: str) -> tuple[float, float]:
    """ms for a user that does not exist, and for a wrong password. Each comes from an address of its own."""
    addresses: Iterator[str] = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in itertools.count(1))

    def trying(account: str) -> Callable[[], Request]:
        body = json.dumps({"email": account, "password": "wrong " + PASSWORD})
        return lambda: (
            "POST",
            "/v1/auth/login",
            body,
            {"Content-Type": "application/json", "X-Forwarded-For": next(addresses)},
        )

    return medians(port, 401, LOGINS, trying(f"un{email[2:]}"), trying(email))


def medians(port: int, status: int, rounds: int, *kinds: Callable[[], Request]) -> tuple[float, float]:
    """In ms. Whoever is first changes with each round."""
    took: dict[Any, list[float]] = {kind: [] for kind in kinds}
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        for number in range(rounds):
            for kind in kinds if number % 2 else kinds[::-1]:
                request, begun = kind(), time.perf_counter()
                connection.request(*request)
                response = connection.getresponse()
                response.read()
                took[kind].append(time.perf_counter() - begun)
                if response.status != status:
                    raise SystemExit(f"bench-api: {response.status} instead of {status} for {request[:2]}")
    first, second = (1000 * statistics.median(took[kind]) for kind in kinds)
    return first, second
