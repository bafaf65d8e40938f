"""The checker of answers complains about each way in which an answer can leave the contract."""

import contextlib
import copy
import json

import pytest

from control_plane.api import contract, examples
from control_plane.web import app
from tests import api_fixtures, contract_checker

HEADERS = {
    "etag": '"1"',
    "x-ratelimit-limit": "1000",
    "x-ratelimit-remaining": "999",
    "x-ratelimit-reset": "1640000000",
    "x-request-id": "req_1",
    "content-type": "application/json",
}
ROUTE = examples.ANSWERS["RouteShape"]
PATH = "/v1/proxy/routes/rte_1"


@pytest.fixture(scope="module")
def made():
    with api_fixtures.loop_thread() as loop:
        yield api_fixtures.ControlPlane(loop, app.HttpSettings()).app


@pytest.fixture(scope="module")
def check(made):
    checker = contract_checker.of_app(made)

    def run(method="GET", target=PATH, status=200, headers=HEADERS, body=ROUTE):
        checker.check(method, target, status, headers, body if body is None else json.dumps(body).encode())

    return run


def test_an_answer_as_documented_passes(check):
    check()
    check(method="HEAD", body=None)
    check(target="/v1/proxy/routes?limit=1", body={"data": [ROUTE], "next_cursor": None})


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"status": 299}, "does not name this status"),
        ({"body": {**ROUTE, "colour": "blue"}}, "colour"),
        ({"body": {**ROUTE, "port": "3000"}}, "port"),
        ({"body": {key: value for key, value in ROUTE.items() if key != "domain"}}, "domain"),
        ({"headers": {key: value for key, value in HEADERS.items() if key != "x-request-id"}}, "without X-Request-Id"),
        ({"headers": {**HEADERS, "x-ratelimit-limit": "many"}}, "no whole number"),
        ({"headers": {**HEADERS, "retry-after": "1"}}, "Retry-After"),
        ({"headers": {**HEADERS, "content-type": "text/html"}}, "text/html"),
        ({"status": 404}, "error"),
        ({"status": 503, "body": {}}, "without Retry-After"),
        ({"method": "DELETE", "status": 204, "body": {}}, "with a body"),
        ({"method": "PATCH", "status": 405}, "without Allow"),
        ({"target": "/v1/nothing", "status": 404}, "error"),
        ({"target": "/v1/nothing", "status": 200}, "neither the contract"),
    ],
)
def test_an_answer_that_is_not_as_documented_fails(check, changes, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check(**changes)


def test_a_line_of_a_stream_is_held_against_its_schema(made):
    checker = contract_checker.of_app(made)
    target = "/v1/services/my-app/logs?follow=true"
    checker.check_line(target, json.dumps(examples.ANSWERS["LogPage"]["data"][0]).encode())
    checker.check_line(target, b'{"gap": {"from": 1, "to": 2}}')
    checker.check_line(target, b'{"error": {"code": "unavailable", "message": "gone", "details": {}}}')
    for line in (b'{"seq": 1}', b'{"error": {}}', b"[]"):
        with pytest.raises(AssertionError, match="a line of"):
            checker.check_line(target, line)


def test_the_client_of_the_tests_is_under_the_checker():
    with api_fixtures.control_plane() as (plane, client):
        strict = copy.deepcopy(plane.app.extensions[contract.EXTENSION])
        strict["paths"]["/health"]["get"]["responses"]["200"]["headers"]["X-Odd"] = {"required": True}
        api_fixtures.CHECKERS[client.port] = contract_checker.Checker(strict)
        with pytest.raises(AssertionError, match="without X-Odd"):
            client.get("/health")
        with contextlib.closing(client.open("GET", "/health")) as connection:
            with pytest.raises(AssertionError, match="without X-Odd"):
                connection.getresponse()


def test_an_app_that_is_not_ours_is_not_checked():
    assert contract_checker.of_app(object()) is None
