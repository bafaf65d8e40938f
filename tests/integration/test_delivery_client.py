"""The guarded client against real receivers: what is dialled, what is verified, and what an answer may cost."""

import ipaddress
import ssl

import pytest
import trustme

from control_plane import errors
from control_plane.clock import SystemClock
from control_plane.delivery.client import Client
from control_plane.delivery.guard import Guard
from control_plane.delivery.resolver import SystemResolver
from tests.delivery_fixtures import ALLOW, Names, networks
from tests.receiver import LOOPBACK, a_receiver
from tests.waiting import wait_until_async


def a_client(*answers: list[str], allow=ALLOW, tls=None, attempt_s=10.0) -> tuple[Client, Names]:
    names = Names(*(answers or ([LOOPBACK],)))
    return Client(Guard(names, allow), SystemClock(), tls, attempt_s), names


async def test_a_post_arrives_as_it_was_given():
    client, names = a_client()
    async with a_receiver("200") as receiver:
        answer = await client.post(receiver.url("/a?b=c", "hooks.example"), {"X-One": "1"}, b'{"a": 1}')
    assert (answer.status, answer.body_prefix) == (200, b"answer 200")
    assert answer.duration_s >= 0
    (request,) = receiver.received
    assert request.line == "POST /a?b=c HTTP/1.1"
    assert request.headers["host"] == f"hooks.example:{receiver.port}"
    assert request.headers["x-one"] == "1"
    assert request.body == b'{"a": 1}'
    assert names.asked == ["hooks.example"]


async def test_a_literal_address_is_called_without_resolving_in_its_right_spelling():
    client, names = a_client()
    async with a_receiver() as receiver:
        await client.post(receiver.url(host="0x7f.1"), {}, b"{}")
    assert receiver.received[0].headers["host"] == f"127.0.0.1:{receiver.port}"
    assert names.asked == []


@pytest.mark.parametrize("text", ["127.1", "2130706433", "0x7f.1", "\u246027.0.0.1", "[::1]", "localhost", "127.0.0.1"])
async def test_loopback_is_not_called_without_the_operators_leave(text):
    client = Client(Guard(SystemResolver()), SystemClock())
    with pytest.raises(errors.InvalidError):
        await client.post(f"http://{text}/", {}, b"{}")


async def test_a_redirect_is_an_answer_and_is_not_followed():
    client, _names = a_client()
    async with a_receiver("redirect") as receiver:
        assert (await client.post(receiver.url(), {}, b"{}")).status == 301
    assert receiver.connections == 1


async def test_a_name_that_is_rebound_is_refused_at_the_next_call():
    client, names = a_client(["127.0.0.2"], [LOOPBACK], allow=networks("127.0.0.2/32"))
    async with a_receiver(host="127.0.0.2") as public, a_receiver(port=public.port) as inner:
        url = public.url(host="hooks.example")
        assert (await client.post(url, {}, b"{}")).status == 200
        with pytest.raises(errors.InvalidError, match=r"hooks\.example leads to"):
            await client.post(url, {}, b"{}")
    assert (public.connections, inner.connections) == (1, 0)
    assert len(names.asked) == 2


async def test_a_name_with_one_forbidden_address_among_others_is_not_called_at_all():
    client, _names = a_client(["127.0.0.2", LOOPBACK], allow=networks("127.0.0.2/32"))
    async with a_receiver(host="127.0.0.2") as receiver:
        with pytest.raises(errors.InvalidError):
            await client.post(receiver.url(host="hooks.example"), {}, b"{}")
    assert receiver.connections == 0


async def test_the_next_checked_address_is_dialled_when_one_refuses():
    client, _names = a_client(["127.0.0.3", LOOPBACK])
    async with a_receiver() as receiver:
        assert (await client.post(receiver.url(host="hooks.example"), {}, b"{}")).status == 200


async def test_no_connection_is_kept_for_a_later_call():
    client, names = a_client()
    async with a_receiver() as receiver:
        for _ in range(3):
            await client.post(receiver.url(host="hooks.example"), {}, b"{}")
        await wait_until_async(lambda: receiver.open == 0)
    assert receiver.connections == len(names.asked) == 3


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    client, _names = a_client()
    async with a_receiver() as proxy, a_receiver() as receiver:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        await client.post(receiver.url(), {}, b"{}")
    assert (proxy.connections, receiver.connections) == (0, 1)


@pytest.mark.parametrize(("mode", "status"), [("huge", 200), ("endless", 500)])
async def test_of_a_large_answer_only_the_beginning_is_read(mode, status):
    client, _names = a_client()
    async with a_receiver(mode) as receiver:
        answer = await client.post(receiver.url(), {}, b"{}")
        await wait_until_async(lambda: receiver.open == 0, what="the end of the connection")
    assert (answer.status, answer.body_prefix) == (status, b"x" * 4096)
    assert receiver.written < 10 * 1024 * 1024


@pytest.mark.parametrize("mode", ["stalls", "broken"])
async def test_a_status_counts_when_the_rest_of_the_answer_does_not_come(mode):
    client, _names = a_client()
    async with a_receiver(mode) as receiver:
        answer = await client.post(receiver.url(), {}, b"{}")
    assert (answer.status, answer.body_prefix) == (200, b"begun")


@pytest.mark.parametrize("mode", ["slow", "half"])
async def test_a_receiver_without_an_answer_costs_one_timeout(mode):
    client, _names = a_client(attempt_s=0.3)
    async with a_receiver(mode) as receiver:
        with pytest.raises(errors.UnavailableError, match=r"no answer within 0\.3 s"):
            await client.post(receiver.url(), {}, b"{}")
        await wait_until_async(lambda: receiver.open == 0, what="the end of the connection")


@pytest.mark.parametrize("mode", ["hangup", "noise", "headers", "continues"])
async def test_what_is_no_http_is_no_answer(mode):
    client, _names = a_client()
    async with a_receiver(mode) as receiver:
        with pytest.raises(errors.UnavailableError, match=r"cannot reach 127\.0\.0\.1"):
            await client.post(receiver.url(), {}, b"{}")


async def test_a_receiver_that_is_down_is_said_to_refuse_without_its_address():
    client, _names = a_client()
    async with a_receiver() as receiver:
        url = receiver.url(host="hooks.example")
    with pytest.raises(errors.UnavailableError) as caught:
        await client.post(url, {}, b"{}")
    assert caught.value.message == "cannot reach hooks.example: Connection refused"


async def test_a_name_that_nobody_knows_cannot_be_resolved():
    client = Client(Guard(SystemResolver(), ALLOW), SystemClock())
    with pytest.raises(errors.UnavailableError, match=r"cannot (resolve|reach)"):
        await client.post("http://no-such-name.invalid/", {}, b"{}")


async def test_the_system_resolver_answers_with_addresses():
    found = await SystemResolver().resolve(LOOPBACK, 80)
    assert [ipaddress.ip_address(text) for text in found] == [ipaddress.ip_address(LOOPBACK)]


@pytest.fixture(scope="module")
def ca():
    return trustme.CA()


def server_context(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context


def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


async def test_tls_is_verified_for_the_name_though_an_address_is_dialled(ca):
    client, _names = a_client(tls=trusting(ca))
    asked = []
    context = server_context(ca, "hooks.example")
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with a_receiver(tls=context) as receiver:
        answer = await client.post(receiver.url(host="hooks.example", scheme="https"), {}, b"{}")
    assert answer.status == 200
    assert asked == ["hooks.example"]


async def test_a_certificate_of_another_name_is_refused(ca):
    client, _names = a_client(tls=trusting(ca))
    async with a_receiver(tls=server_context(ca, "other.example")) as receiver:
        with pytest.raises(errors.UnavailableError, match="certificate is not valid: Hostname mismatch"):
            await client.post(receiver.url(host="hooks.example", scheme="https"), {}, b"{}")
    assert receiver.received == []


async def test_a_certificate_of_an_unknown_authority_is_refused(ca):
    client, _names = a_client()
    async with a_receiver(tls=server_context(ca, "hooks.example")) as receiver:
        with pytest.raises(errors.UnavailableError, match="certificate is not valid"):
            await client.post(receiver.url(host="hooks.example", scheme="https"), {}, b"{}")
    assert receiver.received == []


async def test_a_receiver_without_tls_is_no_https_receiver(ca):
    client, _names = a_client(tls=trusting(ca), attempt_s=0.5)
    async with a_receiver() as receiver:
        with pytest.raises(errors.UnavailableError, match="cannot reach"):
            await client.post(receiver.url(host="hooks.example", scheme="https"), {}, b"{}")
    assert receiver.received == []
