"""The Python client against a transport in memory: what it sends, and what each kind of answer becomes."""

import contextlib
import json

import httpx2
import pytest

from dployr.client import Client
from dployr.errors import ApiError, Unreachable

ENVELOPE = {
    "error": {
        "code": "invalid_request",
        "message": "Invalid deployment configuration",
        "details": {"field": "runtime", "issue": "Unsupported runtime", "supported": ["nodejs", "python"]},
    },
    "request_id": "req_1",
}


def client_of(*answers, refresh_token=None, token="t"):
    """A client whose requests get `answers` one after the other, and the list of the requests it makes."""
    requests, left = [], list(answers)

    def handle(request):
        requests.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    transport = httpx2.MockTransport(handle)
    return Client("http://server.test/", token, transport=transport, refresh_token=refresh_token), requests


def test_a_call_carries_the_token_and_the_fields() -> None:
    client, requests = client_of(httpx2.Response(201, json={"id": "dep_1"}))
    with client:
        assert client.deployments.create(name="a", port=1) == {"id": "dep_1"}
    assert requests[0].headers["Authorization"] == "Bearer t"
    assert json.loads(requests[0].content) == {"name": "a", "port": 1}


def test_an_error_envelope_becomes_an_api_error_with_field_and_issue() -> None:
    client, _ = client_of(httpx2.Response(400, json=ENVELOPE))
    with client, pytest.raises(ApiError) as raised:
        client.deployments.get("a")
    assert (raised.value.status, raised.value.code, raised.value.request_id) == (400, "invalid_request", "req_1")
    assert "runtime: Unsupported runtime, supported: nodejs, python" in str(raised.value)


def test_an_issue_that_the_message_holds_is_not_said_twice() -> None:
    error = ApiError(400, "invalid_request", "bad: port: is required", {"field": "port", "issue": "is required"}, "")
    assert str(error) == "bad: port: is required"


def test_every_one_of_several_problems_is_said() -> None:
    problems = [{"field": "name", "issue": "too long"}, {"field": "port", "issue": "is required"}]
    error = ApiError(400, "invalid_request", "Invalid", {**problems[0], "errors": problems}, "")
    assert str(error) == "Invalid (name: too long; port: is required)"


def test_an_error_without_envelope_keeps_its_status() -> None:
    client, _ = client_of(httpx2.Response(502, text="<html>"))
    with client, pytest.raises(ApiError) as raised:
        client.services.list().__next__()
    assert raised.value.status == 502


@pytest.mark.parametrize("answer", [httpx2.Response(200, text="hello"), httpx2.Response(200, json=[1])])
def test_what_is_no_answer_of_ours_is_unreachable(answer) -> None:
    client, _ = client_of(answer)
    with client, pytest.raises(Unreachable, match="it is not dployr's"):
        client.version()


def test_no_answer_is_unreachable_and_names_the_server() -> None:
    client, _ = client_of(httpx2.ConnectError("connection refused"))
    with client, pytest.raises(Unreachable, match=r"cannot reach http://server\.test: connection refused"):
        client.ready()


def test_a_list_goes_on_until_there_is_no_cursor() -> None:
    client, requests = client_of(
        httpx2.Response(200, json={"data": [{"n": 1}], "next_cursor": "c"}),
        httpx2.Response(200, json={"data": [{"n": 2}], "next_cursor": None}),
    )
    with client:
        assert [item["n"] for item in client.deployments.list(project="p")] == [1, 2]
    assert dict(requests[1].url.params) == {"limit": "200", "project": "p", "cursor": "c"}


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    client, requests = client_of(httpx2.Response(200, json={}))
    with client:
        client.services.start("../v1/x?y")
    assert requests[0].url.raw_path == b"/v1/services/..%2Fv1%2Fx%3Fy/start"


def test_an_expired_token_is_renewed_once_and_the_request_repeated() -> None:
    tokens = {"access_token": "new", "refresh_token": "r2"}
    client, requests = client_of(
        httpx2.Response(401, json=ENVELOPE),
        httpx2.Response(200, json=tokens),
        httpx2.Response(200, json={"id": "dep_1"}),
        refresh_token="r1",
    )
    with client:
        assert client.deployments.get("a")["id"] == "dep_1"
    assert json.loads(requests[1].content) == {"refresh_token": "r1"}
    assert requests[2].headers["Authorization"] == "Bearer new"
    assert (client.token, client.refresh_token) == ("new", "r2")


class Kept:
    """What processes share, in memory."""

    def __init__(self, *tokens: str) -> None:
        self.tokens = tokens or None

    @contextlib.contextmanager
    def locked(self):
        yield self.tokens

    def keep(self, access, refresh):
        self.tokens = (access, refresh)


def test_what_another_process_renewed_is_taken_instead_of_a_second_renewal() -> None:
    client, requests = client_of(
        httpx2.Response(401, json=ENVELOPE), httpx2.Response(200, json={"id": "dep_1"}), refresh_token="r1"
    )
    client.keeper = Kept("theirs", "r2")
    with client:
        client.deployments.get("a")
    assert [request.url.path for request in requests] == ["/v1/deployments/a"] * 2
    assert requests[1].headers["Authorization"] == "Bearer theirs"
    assert (client.token, client.refresh_token) == ("theirs", "r2")


def test_renewed_tokens_are_kept_for_other_processes_at_once() -> None:
    tokens = {"access_token": "new", "refresh_token": "r2"}
    client, _ = client_of(
        httpx2.Response(401, json=ENVELOPE),
        httpx2.Response(200, json=tokens),
        httpx2.Response(500, json=ENVELOPE),
        refresh_token="r1",
    )
    client.keeper = Kept("t", "r1")
    with client, pytest.raises(ApiError):
        client.deployments.get("a")
    assert client.keeper.tokens == ("new", "r2")


def test_a_refused_renewal_leaves_the_first_refusal() -> None:
    client, _ = client_of(httpx2.Response(401, json=ENVELOPE), httpx2.Response(401, json=ENVELOPE), refresh_token="r1")
    with client, pytest.raises(ApiError) as raised:
        client.deployments.get("a")
    assert raised.value.status == 401


def test_a_stream_gives_its_lines_without_heartbeats() -> None:
    client, requests = client_of(httpx2.Response(200, text='{"seq": 1}\n\n{}\n{"seq": 2}\n'))
    with client, client.services.logs("a", tail=5, follow=True) as lines:
        assert [line["seq"] for line in lines] == [1, 2]
    assert dict(requests[0].url.params) == {"tail": "5", "follow": "true"}


def test_an_error_in_a_stream_is_raised_after_the_lines_before_it() -> None:
    last = json.dumps({"error": {"code": "unavailable", "message": "the instance went away", "details": {}}})
    client, _ = client_of(httpx2.Response(200, text='{"seq": 1}\n' + last + "\n"))
    with client, client.services.logs("a", follow=True) as lines:
        seen = iter(lines)
        assert next(seen)["seq"] == 1
        with pytest.raises(ApiError, match="the instance went away"):
            next(seen)


def test_a_refused_stream_says_why() -> None:
    client, _ = client_of(httpx2.Response(404, json=ENVELOPE))
    with client, pytest.raises(ApiError), client.services.logs("a", follow=True):
        pass
