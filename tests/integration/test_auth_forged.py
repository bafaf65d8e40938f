"""T01: no token that we did not make opens any route, and all of them get one answer, which is written down."""

import base64
import hashlib
import hmac
import json
import os
import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from control_plane.api import access
from control_plane.domain import values
from tests import api_fixtures

MANY = {"requests_per_hour": 1_000_000, "anonymous_per_hour": 1_000_000, "logins_per_minute": 1000}


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(**MANY) as pair:
        yield pair


def part(data):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def by_hand(header, claims, secret):
    """Signed with HS256, whatever the header says."""
    body = f"{part(header)}.{part(claims)}"
    return f"{body}.{part(hmac.new(secret.encode(), body.encode(), hashlib.sha256).digest())}"


def forged(plane):
    """Name → token. Each is good but for what its name says."""
    kid, secret = plane.loop.run(plane.services.accounts.signing_key())
    good_token = plane.token()
    good = jwt.decode(good_token, options={"verify_signature": False})
    head, now = {"alg": "HS256", "typ": "JWT", "kid": kid}, int(time.time())
    body = f"{part(head)}.{part(good)}"
    public = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )
    found = {
        f"alg {alg}": f"{part({**head, 'alg': alg})}.{part(good)}." for alg in ("none", "None", "NONE", "nOnE", "")
    }
    found |= {
        f"alg {alg} signed as HS256": by_hand({**head, "alg": alg}, good, secret) for alg in ("none", "RS256", "ES256")
    }
    found |= {f"alg {alg!r}": by_hand({**head, "alg": alg}, good, secret) for alg in (None, 1, ["HS256"], {"a": 1})}
    found |= {alg: jwt.encode(good, secret * 4, alg, headers={"kid": kid}) for alg in ("HS384", "HS512")}
    found |= {
        "a public key as the secret": by_hand(head, good, public),
        "no alg": by_hand({"typ": "JWT", "kid": kid}, good, secret),
        "an empty secret": by_hand(head, good, ""),
        "another secret": by_hand(head, good, "f" * 64),
        "another kid": by_hand({**head, "kid": "other"}, good, secret),
        "no kid": by_hand({"alg": "HS256", "typ": "JWT"}, good, secret),
        "a kid that is a path": by_hand({**head, "kid": "../../../../dev/null"}, good, ""),
        "a kid that is no text": by_hand({**head, "kid": 7}, good, secret),
        "another typ": by_hand({**head, "typ": "at+jwt"}, good, secret),
        "no typ": by_hand({"alg": "HS256", "kid": kid}, good, secret),
        "critical": by_hand({**head, "crit": ["exp"]}, good, secret),
        "unencoded": by_hand({**head, "b64": False}, good, secret),
    }
    for name in ("jku", "x5u", "jwk", "x5c", "cty", "zip"):
        found[name] = by_hand({**head, name: "http://127.0.0.1:9/keys.json"}, good, secret)
    wrong = {"iss": "other", "aud": "other", "type": "refresh", "sub": "usr_unknown", "fam": "fam_unknown"}
    found |= {f"another {name}": plane.token(**{name: value}) for name, value in wrong.items()}
    found |= {
        f"no {name}": plane.token(**{name: None})
        for name in ("iss", "aud", "type", "exp", "nbf", "iat", "jti", "sub", "fam")
    }
    found |= {
        "expired": plane.token(exp=now - 10),
        "not yet": plane.token(nbf=now + 600),
        "from the future": plane.token(iat=now + 600),
        "an end that is text": plane.token(exp="soon"),
        "an end beyond all numbers": by_hand(head, b'{"exp": 1e999}', secret),
        "an end that is true": plane.token(exp=True),
        "a subject that is no text": by_hand(head, {**good, "sub": 7}, secret),
        "many audiences": plane.token(aud=["dployr", "other"]),
        "a login of nobody": plane.token(fam=["x"]),
        "a cut signature": good_token[:-4],
        "no signature": f"{body}.",
        "two parts": body,
        "four parts": f"{good_token}.x",
        "changed claims": f"{part(head)}.{part({**good, 'operator': True})}.{good_token.rpartition('.')[2]}",
        "claims that are no object": by_hand(head, b"[]", secret),
        "claims that are no JSON": by_hand(head, b"{", secret),
        "a header that is no object": f"{part([])}.{part(good)}.x",
        "a deep header": f"{part(b'[' * 2000)}.e30.x",
        "huge": "x" * 20_000,
        "a word": "x",
        "not ASCII": "\xe9\xe9.\xe9.\xe9",
        "a refresh token": _refresh_token(plane),
        "a personal token": "pat_" + "0" * 64,
        "a short personal token": "pat_",
        "a personal token in capitals": "pat_" + "A" * 64,
    }
    return found


def _refresh_token(plane):
    family = plane.loop.run(
        plane.services.accounts.login(values.Principal("", ""), api_fixtures.EMAIL, api_fixtures.PASSWORD)
    )
    return plane.token(type="refresh", fam=family.id, jti=family.jti)


@pytest.fixture(scope="module")
def tokens(running):
    made = forged(running[0])
    assert len(made) >= 40
    return made


def routes(plane):
    """(method, path) of everything that is not public."""
    return sorted(
        (method, re.sub(r"<int:[^>]+>", "1", re.sub(r"<(?!int:)[^>]+>", "x", rule.rule)))
        for rule in plane.app.url_map.iter_rules()
        if access.declared(plane.app, rule.endpoint) != access.PUBLIC
        for method in rule.methods - {"OPTIONS"}
    )


def refusals(plane, count):
    async def read():
        async with plane.store.read() as tx:
            return await tx.list_audit(None, values.AuditQuery(action="auth.refused"), None, count)

    return plane.loop.run(read())


def bodies_of(answer):
    body = answer.json
    body.pop("request_id")
    return json.dumps(body, sort_keys=True)


def test_every_forged_token_gets_the_answer_of_a_missing_one(running, tokens):
    _, client = running
    assert client.get("/v1/auth/me").status == 200
    expected = bodies_of(api_fixtures.Client(client.port).get("/v1/auth/me"))
    for name, token in tokens.items():
        answer = api_fixtures.Client(client.port, token).get("/v1/auth/me")
        assert (name, answer.status, answer.headers["www-authenticate"]) == (name, 401, "Bearer")
        assert (name, bodies_of(answer)) == (name, expected)


def test_no_forged_token_opens_any_route_and_each_try_is_written_down(running, tokens):
    plane, _ = running
    before = len(refusals(plane, 100_000))
    web, tried, seen = plane.app.test_client(), routes(plane), set()
    some_of = _all if os.environ.get("TEST_ALL") else _window
    requests = [
        (method, path, name) for number, (method, path) in enumerate(tried) for name in some_of(sorted(tokens), number)
    ]
    for method, path, name in requests:
        answer = web.open(path, method=method, headers={"Authorization": f"Bearer {tokens[name]}"})
        assert (method, path, name, answer.status_code) == (method, path, name, 401)
        if method != "HEAD":
            seen.add(json.dumps({**answer.json, "request_id": ""}))
    assert len(seen) == 1
    rows = refusals(plane, 100_000)
    assert len(rows) - before == len(requests)
    assert {row.address for row in rows} == {"127.0.0.1"}
    assert all(set(row.data) == {"method", "endpoint"} for row in rows)


def _all(names, _number):
    return names


def _window(names, number):
    """Enough for every token to meet many routes, and every route many tokens."""
    return [names[(number * 7 + offset) % len(names)] for offset in range(15)]


def test_a_token_counts_in_the_header_alone(running):
    plane, client = running
    anonymous = api_fixtures.Client(client.port)
    token = plane.token()
    assert anonymous.get(f"/v1/auth/me?token={token}").status == 401
    assert anonymous.get(f"/v1/auth/me?access_token={token}&jwt={token}").status == 401
    assert anonymous.get("/v1/auth/me", Cookie=f"access_token_cookie={token}").status == 401
    assert anonymous.get("/v1/auth/me", Authorization=f"Basic {token}").status == 401


def test_a_refused_token_is_not_written_down_once_the_quota_is_used_up():
    with api_fixtures.control_plane(anonymous_per_hour=3) as (plane, client):
        bad = api_fixtures.Client(client.port, "x")
        assert [bad.get("/v1/deployments").status for _ in range(6)] == [401, 401, 401, 429, 429, 429]
        assert len(refusals(plane, 50)) == 3


def test_an_access_token_does_not_refresh(running, tokens):
    plane, client = running
    anonymous = api_fixtures.Client(client.port)
    wanted = [plane.token(), *(token for name, token in tokens.items() if name not in {"huge", "a refresh token"})]
    answers = [anonymous.post("/v1/auth/refresh", {"refresh_token": token}) for token in wanted]
    assert {answer.status for answer in answers} == {401}
    assert len({bodies_of(answer) for answer in answers}) == 1
