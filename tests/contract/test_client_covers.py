"""The Python client has a method for every operation of the contract, and each asks for that operation.

The rule: `deployments_create` is `client.deployments.create`; the operations of auth and system are methods of the client
itself. What is named otherwise stands in RENAMED.
"""

import collections.abc
import contextlib
import inspect

import httpx2
import pytest

from control_plane.web import app
from dployr import client as dployr_client
from tests import api_fixtures, contract_checker

OF_THE_CLIENT = frozenset({"auth", "system"})
RENAMED = {"deployments_release_logs": "release_log"}
VALUES = {
    "str": "x",
    "int": 1,
    "float": 1.0,
    "bool": True,
    "bytes | collections.abc.Iterator": b"x",
    "Json": {},
    "dict": {},
    "list": [],
    "Sequence": ["x"],
}
ANSWER = {"data": [], "next_cursor": None, "access_token": "a", "refresh_token": "r"}


@pytest.fixture(scope="module")
def checker():
    with api_fixtures.loop_thread() as loop:
        return contract_checker.of_app(api_fixtures.ControlPlane(loop, app.HttpSettings()).app)


@pytest.fixture
def asked():
    """What the client asked for: (method, target)."""
    return []


@pytest.fixture
def client(asked):
    def answer(request):
        asked.append((request.method, request.url.raw_path.decode()))
        return httpx2.Response(200, json=ANSWER)

    with dployr_client.Client("http://server.test", "token", httpx2.MockTransport(answer), "refresh") as made:
        yield made


def operations(checker):
    return {
        operation["operationId"]: (method.upper(), path)
        for path, item in checker.document["paths"].items()
        for method, operation in item.items()
    }


def method_of(client, operation_id):
    """The method by the rule; None when there is none."""
    group, _, name = operation_id.partition("_")
    holder = client if group in OF_THE_CLIENT else getattr(client, group, None)
    return getattr(holder, RENAMED.get(operation_id, name), None)


def call(method):
    """Calls with something for every argument that must be given, and consumes what comes."""
    required = [
        parameter
        for parameter in inspect.signature(method).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
    ]
    given = {
        parameter.name: VALUES[getattr(parameter.annotation, "__name__", str(parameter.annotation)).partition("[")[0]]
        for parameter in required
    }
    result = method(**given)
    if isinstance(result, contextlib.AbstractContextManager):
        with result as lines:
            list(lines)
    elif isinstance(result, collections.abc.Iterator):
        list(result)


def test_every_operation_has_a_method(client, checker):
    missing = [name for name in operations(checker) if not callable(method_of(client, name))]
    assert missing == []


def test_every_method_asks_for_its_operation(client, checker, asked):
    for name, (method, path) in operations(checker).items():
        asked.clear()
        if name == "auth_refresh":
            client.refresh_token = "refresh"
        call(method_of(client, name))
        assert [(verb, checker.path_of(target)) for verb, target in asked] == [(method, path)], name


def test_no_name_is_changed_for_an_operation_that_is_gone(checker):
    assert set(RENAMED) <= set(operations(checker))
