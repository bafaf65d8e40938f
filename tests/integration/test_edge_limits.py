"""The quota: exact beside other requests, on every answer, over restarts and replicas, and not to be escaped."""

import concurrent.futures
import contextlib
import time

import pytest

from control_plane import config, errors
from control_plane.api import context
from control_plane.web import app as web_app
from tests import api_fixtures, nginx_front, redis_server

QUOTA = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
JSON = {"Content-Type": "application/json"}


def remaining(answer) -> int:
    return int(answer.headers["x-ratelimit-remaining"])


def test_requests_at_once_each_see_a_number_of_their_own():
    with api_fixtures.control_plane(anonymous_per_hour=1000) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            seen = list(pool.map(lambda _: remaining(anonymous.get("/v1/version")), range(240)))
    assert sorted(seen, reverse=True) == list(range(999, 759, -1))


def _answers(plane, client, monkeypatch):
    """Every status that the API gives today, as (expected status, answer)."""
    post = lambda body, headers=JSON: client.request("POST", "/v1/deployments", body, headers)  # noqa: E731
    busy, broken = errors.UnavailableError("cannot read: busy"), RuntimeError("a defect")
    created = client.post("/v1/deployments", api_fixtures.NODE_APP)
    yield 201, created
    service = created.json["service_id"]
    for method in ("GET", "HEAD"):
        yield 200, client.request(method, "/v1/deployments")
    yield 202, client.post(f"/v1/services/{service}/stop")
    route = {"domain": "a.example.test", "service_id": service, "port": 3000}
    yield 201, (made := client.post("/v1/proxy/routes", route))
    yield 204, client.delete(made.headers["location"])
    yield 400, post(b"{")
    yield 401, client.get("/v1/deployments", Authorization="Bearer x")
    yield 404, client.get("/v1/nothing")
    yield 404, client.get("/v1/deployments/")
    yield 404, client.get("//v1/deployments")
    yield 404, client.get("/V1/DEPLOYMENTS")
    yield 405, client.request("OPTIONS", "/v1/deployments")
    yield 405, client.request("BREW", "/v1/deployments")
    yield 405, client.request("TRACE", "/v1/deployments")
    yield 409, client.post("/v1/deployments", api_fixtures.NODE_APP)
    yield 413, post(b"x" * ((1 << 20) + 1))
    yield 415, post(b"{}", {"Content-Type": "text/plain"})
    for status, error in ((503, busy), (500, broken)):
        with monkeypatch.context() as patched:
            patched.setattr(type(plane.services.services), "list", _raising(error))
            yield status, client.get("/v1/services")
    with contextlib.closing(client.open("GET", f"/v1/services/{service}/logs?follow=true")) as connection:
        response = connection.getresponse()
        yield response.status, api_fixtures.Answer(response, b"")


def _raising(error):
    async def fail(*_args, **_named):
        raise error

    return fail


def test_every_answer_carries_the_quota_and_is_counted_once(monkeypatch):
    with api_fixtures.control_plane(requests_per_hour=1000, anonymous_per_hour=1000) as (plane, client):
        left = {"principal": 1000, "network": 1000}
        for status, answer in _answers(plane, client, monkeypatch):
            assert answer.status == status
            assert all(answer.headers[name].isdigit() for name in QUOTA), (status, answer.headers)
            assert ("retry-after" in answer.headers) == (status in {429, 503}), status
            whose = "network" if remaining(answer) == left["network"] - 1 and status in {401, 405} else "principal"
            left[whose] -= 1  # no token counts for the network: a bad one, and that of OPTIONS, which is not read
            assert remaining(answer) == left[whose], (status, answer.text)
        assert left["network"] >= 998


def test_an_exhausted_budget_refuses_whatever_path_method_or_body_comes():
    with api_fixtures.control_plane(anonymous_per_hour=3) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        for _ in range(3):
            assert anonymous.get("/v1/version").status == 200
        for method, path, headers in (
            ("GET", "/v1/version", {}),
            ("GET", "/v1/version/", {}),
            ("GET", "//v1//version", {}),
            ("GET", "/V1/Version", {}),
            ("GET", "/v1/./version", {}),
            ("GET", "/v1/%76ersion", {}),
            ("GET", "/v1/version?a=1", {}),
            ("HEAD", "/v1/version", {}),
            ("OPTIONS", "/v1/version", {}),
            ("TRACE", "/v1/version", {}),
            ("POST", "/v1/auth/login", JSON),
            ("GET", "/nothing", {}),
            ("GET", "/static/x", {}),
            ("GET", "/v1/version", {"X-HTTP-Method-Override": "POST"}),
            ("GET", "/v1/version", {"X-Forwarded-For": "203.0.113.9"}),
            ("GET", "/v1/version", {"X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"}),
            ("GET", "/v1/version", {"Authorization": "Bearer nonsense"}),
        ):
            answer = anonymous.request(method, path, headers=headers)
            assert (answer.status, remaining(answer)) == (429, 0), (method, path, headers)
            assert 3500 < int(answer.headers["retry-after"]) <= 3601
        assert client.get("/v1/version").status == 200  # a principal has a budget of its own


@pytest.mark.parametrize(
    ("hops", "forwarded", "counted_for"),
    [
        (1, ["203.0.113.1"], "203.0.113.1"),
        (1, ["198.51.100.1, 203.0.113.1"], "203.0.113.1"),
        (1, ["198.51.100.1", "203.0.113.1"], "203.0.113.1"),
        (2, ["198.51.100.1, 203.0.113.1, 203.0.113.2"], "203.0.113.1"),
        (2, ["203.0.113.1"], "127.0.0.1"),
        (1, ["203.0.113.1:5050"], "203.0.113.1"),
        (1, [], "127.0.0.1"),
        (0, ["203.0.113.1"], "127.0.0.1"),
    ],
)
def test_a_forwarded_address_counts_from_the_right_by_exactly_the_configured_hops(hops, forwarded, counted_for):
    with api_fixtures.control_plane(trusted_hops=hops, anonymous_per_hour=100) as (plane, client):
        head = "".join(f"X-Forwarded-For: {value}\r\n" for value in forwarded)
        api_fixtures.raw_answer(client.port, f"GET /v1/version HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode())
        plain = plane.app.test_client()
        hit = plain.get(
            "/v1/version", environ_base={"REMOTE_ADDR": counted_for}, headers={"X-Forwarded-For": ""} if hops else {}
        )
        assert hit.headers["X-RateLimit-Remaining"] == "98"


def test_a_header_with_an_underscore_is_not_the_one_with_a_dash():
    with api_fixtures.control_plane(trusted_hops=1, anonymous_per_hour=100) as (_, client):
        ask = lambda head: api_fixtures.raw_answer(  # noqa: E731
            client.port, f"GET /v1/version HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode()
        )
        seen = [
            ask(f"X-Forwarded-For: 203.0.113.1\r\nX_Forwarded_For: 203.0.113.{number}\r\n").headers for number in (7, 8)
        ]
        assert [headers["x-ratelimit-remaining"] for headers in seen] == ["99", "98"]


@nginx_front.needs_nginx
def test_forged_addresses_do_not_escape_the_count_behind_a_real_proxy():
    with (
        api_fixtures.control_plane(trusted_hops=1, anonymous_per_hour=40) as (_, client),
        nginx_front.nginx_front([client.port]) as front,
    ):
        anonymous = api_fixtures.Client(front)
        paths = ("/v1/version", "/v1/version/", "/V1/version", "/nothing")
        answers = [
            anonymous.request(
                ("GET", "HEAD", "OPTIONS")[number % 3],
                paths[number % 4],
                headers={"X-Forwarded-For": f"203.0.113.{number}", "X_Forwarded_For": f"203.0.113.{number}"},
            )
            for number in range(60)
        ]
        assert [remaining(answer) for answer in answers] == [*range(39, -1, -1), *[0] * 20]
        assert [answer.status == 429 for answer in answers] == [False] * 40 + [True] * 20
        assert len({answer.headers["x-ratelimit-reset"] for answer in answers}) == 1


@redis_server.needs_redis
class TestSharedStore:
    @pytest.fixture
    def redis(self):
        with redis_server.redis_server() as server:
            yield server

    def test_counts_survive_a_restart_of_the_control_plane(self, redis):
        for before in (10, 7):
            with api_fixtures.control_plane(anonymous_per_hour=10, rate_limit_storage=redis.url) as (_, client):
                anonymous = api_fixtures.Client(client.port)
                seen = [remaining(anonymous.get("/v1/version")) for _ in range(3)]
                assert seen == [before - 1, before - 2, before - 3]

    @nginx_front.needs_nginx
    def test_replicas_share_one_budget_and_one_end_of_it(self, redis):
        limits = {"anonymous_per_hour": 300, "trusted_hops": 1, "rate_limit_storage": redis.url}
        with (
            api_fixtures.control_plane(**limits) as (_, one),
            api_fixtures.control_plane(**limits) as (_, other),
            nginx_front.nginx_front([one.port, other.port]) as front,
        ):
            anonymous = api_fixtures.Client(front)
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _: anonymous.get("/v1/version"), range(320)))
        assert sorted(remaining(answer) for answer in answers) == [0] * 20 + list(range(300))
        assert sum(answer.status == 429 for answer in answers) == 20
        assert len({answer.headers["x-ratelimit-reset"] for answer in answers}) == 1

    def test_a_redis_that_dies_fails_no_request_and_loses_no_count(self, redis):
        with api_fixtures.control_plane(anonymous_per_hour=100, rate_limit_storage=redis.url) as (_, client):
            anonymous = api_fixtures.Client(client.port)
            answers = [anonymous.get("/v1/version") for _ in range(5)]
            redis.kill()
            answers += [anonymous.get("/v1/version") for _ in range(5)]
            assert [answer.status for answer in answers] == [200] * 10
            assert [remaining(answer) for answer in answers] == list(range(99, 89, -1))
            assert anonymous.get("/health").headers["x-ratelimit-remaining"] == "90"
            wrong = {"email": api_fixtures.EMAIL, "password": "wrong"}
            assert anonymous.post("/v1/auth/login", wrong).status == 401

    def test_a_redis_that_never_answers_fails_no_request(self):
        url = "redis://:s3cret@127.0.0.1:1/0"
        with api_fixtures.control_plane(anonymous_per_hour=100, rate_limit_storage=url) as (plane, client):
            anonymous = api_fixtures.Client(client.port)
            assert [remaining(anonymous.get("/v1/version")) for _ in range(3)] == [99, 98, 97]
            assert "s3cret" not in repr(plane.app.extensions[context.EXTENSION].settings)


def test_passwords_guessed_at_once_are_as_few_as_passwords_guessed_one_by_one():
    with api_fixtures.control_plane(anonymous_per_hour=1000, logins_per_minute=5) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        guess = {"email": api_fixtures.EMAIL, "password": "wrong"}
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            answers = list(pool.map(lambda _: anonymous.post("/v1/auth/login", guess), range(60)))
        refused = [answer for answer in answers if answer.status == 429]
        assert [answer.status for answer in answers].count(401) == 5
        assert len(refused) == 55
        assert all(1 <= int(answer.headers["retry-after"]) <= 61 for answer in refused)
        other = {"email": "somebody@example.test", "password": "wrong"}
        assert anonymous.post("/v1/auth/login", other).status == 401  # another account has its own count


def test_the_address_of_the_store_is_never_printed(capfd):
    secret = "redis://:s3cret@no host:x/0"
    with pytest.raises(config.ConfigError) as refused:
        config.load(None, {"DPLOYR_RATE_LIMIT_STORAGE": secret}, {"data_dir": "/x"})
    assert "s3cret" not in str(refused.value)
    assert "rate_limit_storage" in str(refused.value)
    good = config.load(None, {"DPLOYR_RATE_LIMIT_STORAGE": "redis://:s3cret@redis:6379/0"}, {"data_dir": "/x"})
    assert good.rate_limit_storage == "redis://:s3cret@redis:6379/0"
    assert "s3cret" not in repr(good)
    assert "s3cret" not in repr(web_app.HttpSettings(rate_limit_storage=secret))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "memory",
        "memory://x",
        "memcached://x:1",
        "redis://",
        "redis://h:0",
        "redis://h/x",
        "redis://h/0?a=1",
        "rs://h",
    ],
)
def test_a_store_that_does_not_exist_is_refused_at_the_start(text):
    with pytest.raises(config.ConfigError, match="rate_limit_storage"):
        config.load(None, {}, {"data_dir": "/x", "rate_limit_storage": text})


def test_reset_is_the_end_of_the_window_in_whole_seconds_and_the_same_for_all_of_it():
    with api_fixtures.control_plane(anonymous_per_hour=100) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        before = time.time()
        resets = [int(anonymous.get("/v1/version").headers["x-ratelimit-reset"]) for _ in range(5)]
        assert len(set(resets)) == 1
        assert before + 3599 < resets[0] <= time.time() + 3601
