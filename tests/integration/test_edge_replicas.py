"""One budget over two real control planes behind a real nginx, with one of them killed and started again on the way."""

import os

import pytest

from tests import api_fixtures, nginx_front, redis_server, running_plane
from tests.e2e.platform import free_port

WHOLE = bool(os.environ.get("TEST_ALL"))
REQUESTS = 1200 if WHOLE else 300
BUDGET = 1000 if WHOLE else 250
LOGINS = 2  # of the set-up, one for each replica, from the same address
BAD_GATEWAY = 502  # nginx's own answer for the replica that is down: no request of ours


@pytest.fixture
def redis():
    server = redis_server.RedisServer()
    server.start()
    yield server
    server.kill()


@nginx_front.needs_nginx
@redis_server.needs_redis
def test_replicas_share_one_budget_to_the_request_although_one_is_killed(tmp_path, redis):
    settings = {
        "DPLOYR_RATE_LIMIT_ANONYMOUS": str(BUDGET),
        "DPLOYR_RATE_LIMIT_STORAGE": redis.url,
        "DPLOYR_TRUSTED_HOPS": "1",
    }
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with (
        running_plane.running(tmp_path / "one", free_port(), settings=settings) as one,
        running_plane.running(tmp_path / "other", free_port(), settings=settings) as other,
        nginx_front.nginx_front([one.port, other.port]) as front,
    ):
        anonymous = api_fixtures.Client(front)
        ask = lambda: anonymous.get("/v1/version", X_Forwarded_For="203.0.113.7")  # noqa: E731
        seen = [ask() for _ in range(REQUESTS // 3)]
        one.kill()
        seen += [ask() for _ in range(REQUESTS // 3)]
        one.start()
        while len(answered(seen)) < REQUESTS:
            seen.append(ask())
    passed = [answer for answer in answered(seen) if answer.status == 200]
    assert len(passed) == pytest.approx(BUDGET - LOGINS, abs=1)
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in passed]
    assert left == list(range(left[0], -1, -1))
    refused = [answer for answer in answered(seen) if answer.status != 200]
    assert {answer.status for answer in refused} == {429}
    assert all("retry-after" in answer.headers for answer in refused)


def answered(seen):
    """What came from a control plane."""
    return [answer for answer in seen if answer.status != BAD_GATEWAY]
