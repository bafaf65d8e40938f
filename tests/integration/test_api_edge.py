"""What every answer has, and what is refused before any use case: envelope, quota, tokens, bodies, permissions."""

import base64
import json
import re
import time

import jwt
import pytest

from control_plane import errors
from control_plane.api import context
from control_plane.services import desired
from control_plane.web import app as web_app
from tests import api_fixtures

QUOTA = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
MANY = {"requests_per_hour": 100_000, "anonymous_per_hour": 100_000, "logins_per_minute": 1000}


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(**MANY) as pair:
        yield pair


@pytest.fixture
def plane(running):
    return running[0]


@pytest.fixture
def client(running):
    return running[1]


@pytest.fixture
def anonymous(client):
    return api_fixtures.Client(client.port)


def assert_envelope(answer, status, code):
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json) == {"error", "request_id"}
    assert set(answer.json["error"]) == {"code", "message", "details"}
    assert answer.json["error"]["code"] == code
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert all(name in answer.headers for name in QUOTA)
    assert ("retry-after" in answer.headers) == (status in {429, 503})


def test_every_refusal_has_the_envelope_and_the_quota(plane, client, anonymous, monkeypatch):
    post = lambda body, **headers: client.request("POST", "/v1/deployments", body, headers)  # noqa: E731
    json_type = {"Content-Type": "application/json"}
    assert_envelope(client.get("/v1/nothing"), 404, "not_found")
    assert_envelope(anonymous.get("/nothing"), 404, "not_found")
    assert_envelope(client.get("/v1/deployments/"), 404, "not_found")
    assert_envelope(client.get("/v1//deployments"), 404, "not_found")
    assert_envelope(client.get("/v1/deployments/unknown"), 404, "not_found")
    assert_envelope(client.get("/v1/deployments/%00"), 400, "invalid_request")
    assert_envelope(client.get("/v1/deployments?name=%00"), 400, "invalid_request")
    wrong_method = client.request("PATCH", "/v1/deployments")
    assert_envelope(wrong_method, 405, "method_not_allowed")
    assert {name.strip() for name in wrong_method.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
    assert_envelope(client.request("OPTIONS", "/v1/deployments"), 405, "method_not_allowed")
    assert_envelope(anonymous.get("/v1/deployments"), 401, "unauthorized")
    assert_envelope(post(b"{}", **{"Content-Type": "text/plain"}), 415, "unsupported_media_type")
    assert_envelope(post(b"{}"), 415, "unsupported_media_type")
    assert_envelope(post(b"x" * (2 << 20), **json_type), 413, "payload_too_large")
    assert_envelope(client.request("POST", "/v1/services/x/start", b"x" * (2 << 20)), 413, "payload_too_large")
    assert_envelope(post(b"{nonsense", **json_type), 400, "invalid_request")


def test_a_parameter_that_an_operation_does_not_have_is_refused_everywhere(client):
    paths = client.get("/v1/openapi.json").json["paths"]
    asked = [(method, path) for path, item in paths.items() if path.startswith("/v1/") for method in item]
    ignored = [
        (method, path)
        for method, path in asked
        if "nonsense" not in _fields(client.request(method.upper(), f"{_filled(path)}?nonsense=1", {}))
    ]
    assert ignored == []
    assert len(asked) > 70


def test_a_body_is_refused_where_none_is_taken(client):
    for method, path in (("POST", "services/x/start"), ("POST", "webhooks/x/test"), ("DELETE", "deployments/x")):
        assert _fields(client.request(method, f"/v1/{path}", {"force": True, "after": 5})) == ["force", "after"]
        assert client.request(method, f"/v1/{path}", {}).status == 404
        text = client.request(method, f"/v1/{path}", b"force", {"Content-Type": "text/plain"})
        assert _fields(text) == ["body"]


def test_a_login_is_not_asked_for_what_it_would_ignore(client, anonymous):
    for path, body in (("login", {"email": "x", "password": "y"}), ("refresh", {"refresh_token": "x"})):
        answer = anonymous.post(f"/v1/auth/{path}", body, **{"Idempotency-Key": "mine"})
        assert _fields(answer) == ["Idempotency-Key"]
    assert _fields(client.post("/v1/auth/logout?dry_run=true")) == ["dry_run"]
    assert client.get("/v1/auth/me").status == 200


def test_null_is_refused_where_it_would_change_nothing(client):
    for path, fields in (
        ("/v1/proxy/routes/x", ["domain", "service_id", "port", "path", "tls", "redirect_to", "headers", "weights"]),
        ("/v1/webhooks/x", ["url", "events", "secret", "description", "enabled"]),
        ("/v1/projects/x", ["name", "description"]),
        ("/v1/services/x", ["replicas", "resources", "health_check"]),
        ("/v1/users/x", ["email", "operator", "disabled", "password"]),
        ("/v1/instances/x", ["labels", "cordoned"]),
    ):
        named = {field.partition(".")[0] for field in _fields(client.request("PATCH", path, dict.fromkeys(fields)))}
        assert named == set(fields), path


def _filled(path):
    return re.sub(r"{(\w+)}", lambda found: "1" if found[1] in {"n", "a", "b"} else "x", path)


def _fields(answer):
    """The fields that a refusal names."""
    assert answer.status == 400, answer.text
    details = answer.json["error"]["details"]
    return [problem["field"] for problem in details.get("errors", [details])]


def test_an_internal_error_leaks_nothing_and_is_logged_under_its_request_id(plane, client, monkeypatch):
    def broken(*_):
        raise RuntimeError("the secret detail")

    monkeypatch.setattr(type(plane.services.services), "list", broken)
    answer = client.get("/v1/services", X_Request_Id="req_mine")
    assert_envelope(answer, 500, "internal_error")
    assert b"secret detail" not in answer.body
    assert answer.json["request_id"] == "req_mine"


def test_an_unavailable_service_is_a_503_with_a_time_to_retry(plane, client, monkeypatch):
    async def busy(*_):
        raise errors.UnavailableError("cannot read: busy")

    monkeypatch.setattr(type(plane.services.services), "list", busy)
    assert_envelope(client.get("/v1/services"), 503, "unavailable")


def test_a_request_id_is_taken_when_it_is_plain_and_made_otherwise(client):
    assert client.get("/health", X_Request_Id="a-b.c_1").headers["x-request-id"] == "a-b.c_1"
    for bad in ("a b", "x" * 65, "<script>"):
        assert client.get("/health", X_Request_Id=bad).headers["x-request-id"].startswith("req_")


def test_answers_are_not_cached_sniffed_or_framed(client):
    headers = client.get("/v1/deployments").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nothing",
        b"[]",
        b'"text"',
        b'"{}"',
        b"null",
        b'{"email": "a", "email": "b", "password": "x"}',
        b'{"email": NaN, "password": "x"}',
        b'{"email": 1e999, "password": "x"}',
        b'{"email": "a\\u0000b", "password": "x"}',
        b'{"email": "\\ud800", "password": "x"}',
        b'{"\\ud800": "a", "password": "x"}',
        b'{"email": "\xff", "password": "x"}',
        b"\xef\xbb\xbf{}",
        b'{"email": ' + b"[" * 40 + b"]" * 40 + b"}",
        b"[" * 200_000,
        b'{"email": ' + b"9" * 5000 + b"}",
        b'{"email": "a"}',
        b'{"email": 1, "password": "x"}',
        b'{"email": "a", "password": "x", "colour": "blue"}',
    ],
)
def test_json_that_two_readers_could_understand_differently_is_a_400(anonymous, body):
    answer = anonymous.request("POST", "/v1/auth/login", body, {"Content-Type": "application/json"})
    assert_envelope(answer, 400, "invalid_request")
    assert answer.json["error"]["details"]["field"]


def _forged(plane):
    kid, secret = plane.loop.run(plane.services.accounts.signing_key())
    good = jwt.decode(plane.token(), options={"verify_signature": False})
    now = int(time.time())
    part = lambda data: base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")  # noqa: E731
    return {
        "no signature": f"{part({'alg': 'none', 'typ': 'JWT', 'kid': kid})}.{part(good)}.",
        "another algorithm": jwt.encode(good, secret * 2, "HS512", headers={"kid": kid}),
        "another secret": jwt.encode(good, "x" * 64, "HS256", headers={"kid": kid}),
        "another kid": jwt.encode(good, secret, "HS256", headers={"kid": "other"}),
        "no kid": jwt.encode(good, secret, "HS256"),
        "expired": plane.token(exp=now - 10),
        "not yet": plane.token(nbf=now + 600),
        "no expiry": plane.token(exp=None),
        "no start": plane.token(nbf=None),
        "no id": plane.token(jti=None),
        "no subject": plane.token(sub=None),
        "a subject that is no text": plane.token(sub=7),
        "another audience": plane.token(aud="other"),
        "no audience": plane.token(aud=None),
        "another issuer": plane.token(iss="other"),
        "a refresh token": plane.token(type="refresh"),
        "an unknown user": plane.token(sub="usr_unknown"),
        "no token": "x",
        "deep": f"{base64.urlsafe_b64encode(b'[' * 2000).decode()}.e30.x",
        "long": "x" * 20_000,
    }


def test_a_forged_token_is_a_401(plane, client):
    assert client.get("/v1/deployments").status == 200
    for what, token in _forged(plane).items():
        answer = api_fixtures.Client(client.port, token).get("/v1/deployments")
        assert answer.status == 401, what
        assert_envelope(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic YTpi", "Bearer a b", "bearer", "\xe9\xe9 x"])
def test_an_odd_authorization_header_is_a_401(anonymous, header):
    assert_envelope(anonymous.get("/v1/deployments", Authorization=header), 401, "unauthorized")


def test_a_public_view_works_with_a_bad_token(anonymous):
    assert anonymous.get("/health", Authorization="Bearer x").status == 200


def test_an_access_token_cannot_refresh(plane, client):
    assert_envelope(client.post("/v1/auth/refresh", {"refresh_token": client.token}), 401, "unauthorized")
    assert_envelope(client.post("/v1/auth/refresh", {"refresh_token": "x"}), 401, "unauthorized")


def test_ready_says_what_is_missing(plane, anonymous, monkeypatch):
    ready = anonymous.get("/ready")
    assert (ready.status, ready.json["instances_online"]) == (200, 1)
    monkeypatch.setattr(
        plane, "readiness", web_app.Readiness(database=True, operator=False, hub=True, instances_online=0)
    )
    answer = anonymous.get("/ready")
    assert_envelope(answer, 503, "unavailable")
    assert answer.json["error"]["details"]["operator"] is False
    assert "no operator" in anonymous.get("/").text


def test_the_status_page_has_no_script_and_no_data(client, anonymous):
    page = anonymous.get("/")
    assert page.status == 200
    assert "script" not in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert api_fixtures.EMAIL not in page.text
    assert "/v1/openapi.json" in page.text
    assert f"dployr login --server http://127.0.0.1:{client.port}" in page.text


def test_the_control_planes_own_metrics_hold_counts_and_no_names(client, anonymous):
    client.get("/v1/deployments/very-private-name")
    text = anonymous.get("/metrics").text
    assert 'dployr_http_requests_total{endpoint="deployments.get",method="GET",status="404"}' in text
    assert "dployr_instances_online 1.0" in text
    assert "very-private-name" not in text


def test_the_contract_is_openapi_31_and_complete(plane, anonymous):
    document = anonymous.get("/v1/openapi.json").json
    assert document["openapi"] == "3.1.0"
    paths = {
        re.sub(r"<(?:[^:>]+:)?([^>]+)>", r"{\1}", str(rule))
        for rule in plane.app.url_map.iter_rules()
        if rule.endpoint != "dashboard.home"
    }
    assert set(document["paths"]) == paths
    create = document["paths"]["/v1/deployments"]["post"]
    assert {"201", "400", "401", "403", "404", "409", "413", "415", "429", "500", "503"} <= set(create["responses"])
    assert create["security"] == [{"bearer": []}]
    assert create["responses"]["201"]["headers"]["X-RateLimit-Limit"]
    assert document["paths"]["/v1/auth/login"]["post"]["security"] == []
    fields = document["components"]["schemas"]["DeploymentCreate"]["properties"]
    assert {"name", "env", "env_vars", "health_check"} <= set(fields)
    assert fields["port"]["type"] == "integer"
    refs = set(_refs(document))
    assert {ref.rpartition("/")[2] for ref in refs if "/schemas/" in ref} <= set(document["components"]["schemas"])


def _refs(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _refs(value)


class TestQuota:
    """Small limits need an app of their own."""

    @pytest.fixture
    def limited(self):
        with api_fixtures.control_plane(requests_per_hour=8, anonymous_per_hour=6, logins_per_minute=3) as pair:
            yield pair

    def test_one_budget_over_all_endpoints_counts_down_on_every_answer(self, limited):
        _, client = limited
        answers = [
            client.get("/v1/deployments"),
            client.get("/v1/nothing"),
            client.request("PATCH", "/v1/deployments"),
            client.get("/v1/deployments/unknown"),
            client.request("POST", "/v1/deployments", b"{", {"Content-Type": "application/json"}),
            client.get("/v1/services"),
        ]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["7", "6", "5", "4", "3", "2"]
        assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"8"}
        reset = int(answers[0].headers["x-ratelimit-reset"])
        assert time.time() < reset <= time.time() + 3601
        assert len({answer.headers["x-ratelimit-reset"] for answer in answers}) == 1

    def test_an_exhausted_budget_is_a_429_with_the_time_to_wait(self, limited):
        _, client = limited
        answers = [client.get("/v1/nothing") for _ in range(9)]
        assert [answer.status for answer in answers] == [404] * 8 + [429]
        assert_envelope(answers[-1], 429, "rate_limited")
        assert 3500 < int(answers[-1].headers["retry-after"]) <= 3601
        assert answers[-1].headers["x-ratelimit-remaining"] == "0"

    def test_principals_and_addresses_have_budgets_of_their_own(self, limited):
        plane, client = limited
        anonymous = api_fixtures.Client(client.port)
        for _ in range(7):
            last = anonymous.get("/v1/version")
        assert last.status == 429
        assert last.headers["x-ratelimit-limit"] == "6"
        assert client.get("/v1/version").headers["x-ratelimit-remaining"] == "7"
        forged = api_fixtures.Client(client.port, plane.token(aud="other"))
        assert forged.get("/v1/deployments").status == 429

    def test_probes_show_the_budget_without_using_it_and_work_when_it_is_gone(self, limited):
        _, client = limited
        anonymous = api_fixtures.Client(client.port)
        for path in ("/health", "/ready", "/metrics"):
            assert anonymous.get(path).headers["x-ratelimit-remaining"] == "6"
        for _ in range(7):
            anonymous.get("/v1/version")
        assert anonymous.get("/health").status == 200

    def test_failed_logins_are_throttled_by_account_while_the_headers_show_the_quota(self, limited):
        _, client = limited
        wrong = {"email": api_fixtures.EMAIL, "password": "wrong"}
        answers = [client.post("/v1/auth/login", wrong) for _ in range(4)]
        assert [answer.status for answer in answers] == [401, 401, 401, 429]
        assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"8"}
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 61
        assert_envelope(answers[-1], 429, "rate_limited")
        other = client.post("/v1/auth/login", {"email": "someone@example.test", "password": "wrong"})
        assert other.status == 401

    def test_good_logins_are_not_throttled(self, limited):
        _, client = limited
        good = {"email": api_fixtures.EMAIL, "password": api_fixtures.PASSWORD}
        assert [client.post("/v1/auth/login", good).status for _ in range(5)] == [200] * 5


def test_a_forwarded_address_is_believed_for_the_configured_hops_only():
    with api_fixtures.control_plane(anonymous_per_hour=2, trusted_hops=1) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        ask = lambda forwarded: anonymous.get("/v1/version", X_Forwarded_For=forwarded).status  # noqa: E731
        assert [ask("1.1.1.1"), ask("9.9.9.9, 1.1.1.1"), ask("8.8.8.8, 1.1.1.1")] == [200, 200, 429]
        assert ask("2.2.2.2") == 200
    with api_fixtures.control_plane(anonymous_per_hour=2) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        assert [anonymous.get("/v1/version", X_Forwarded_For=f"1.1.1.{n}").status for n in range(3)] == [200, 200, 429]


def test_an_ipv6_caller_has_one_budget_for_its_network():
    with api_fixtures.control_plane(anonymous_per_hour=2, trusted_hops=1) as (_, client):
        anonymous = api_fixtures.Client(client.port)
        ask = lambda forwarded: anonymous.get("/v1/version", X_Forwarded_For=forwarded).status  # noqa: E731
        assert [ask("2001:db8::1"), ask("2001:db8::2"), ask("2001:db8::3"), ask("2001:db8:1::1")] == [
            200,
            200,
            429,
            200,
        ]


def test_settings_have_the_seeds_limits():
    settings = context.HttpSettings()
    assert (settings.requests_per_hour, settings.anonymous_per_hour) == (1000, 60)


def test_the_id_of_a_request_goes_with_its_wish_to_the_agent(plane, client):
    made = client.request("POST", "/v1/deployments", api_fixtures.NODE_APP, {"X-Request-Id": "req-first"})

    def wish():
        (found,) = plane.loop.run(desired.DesiredState(plane.context).newer_than(plane.instance.id, {}))
        return found.generation, found.request_id

    assert wish() == (1, "req-first")
    restart = f"/v1/services/{made.json['service_id']}/restart"
    assert (
        client.request("POST", restart, headers={"X-Request-Id": "req-second"}).headers["x-request-id"] == "req-second"
    )
    assert wish() == (2, "req-second")
