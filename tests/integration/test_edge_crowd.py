"""T09: two hundred slow clients at once, direct and through a real proxy with the limits that the manual gives it.

All of them are ended by the limit, and until then everybody else is answered. The limit is 15 s (test_edge_slow.py holds
the server's own numbers); here it is shorter, but for `make test-all`.
"""

import asyncio
import contextlib
import itertools
import os
import socket

import pytest

from control_plane.web import bridge, server
from tests import api_fixtures, matrix_fixtures, nginx_front
from tests.waiting import wait_until

LIMIT_S = 15.0 if os.environ.get("TEST_ALL") else 1.0
COUNT = 200


class Slow(asyncio.Protocol):
    """Sends `opening`. `over` when the connection has ended."""

    def __init__(self, opening):
        self.opening, self.told, self.over = opening, b"", False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.opening)

    def data_received(self, data):
        self.told += data

    def connection_lost(self, _error):
        self.over = True


class Dripping(Slow):
    """Goes on with a byte now and then, for ever: it is never silent for as long as the limit."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.drip()

    def drip(self):
        if not self.over:
            self.transport.write(b"x")
            asyncio.get_running_loop().call_later(LIMIT_S / 5, self.drip)


class Deaf(Slow):
    """Takes the beginning of the answer, and nothing more until it is told to."""

    def data_received(self, data):
        super().data_received(data)
        self.transport.pause_reading()

    def listen(self):
        self.data_received = lambda _data: None
        if not self.over:
            self.transport.resume_reading()


def kinds(token):
    """How each of the three is made."""
    head = f"Host: x\r\nAuthorization: Bearer {token}\r\n"
    headers = f"GET /v1/deployments HTTP/1.1\r\n{head}X-Slow: "
    sized = f"{head}Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    body = f"POST /v1/deployments HTTP/1.1\r\n{sized}"
    stream = f"GET /v1/services/my-app/logs?follow=true HTTP/1.1\r\n{head}\r\n"
    return (
        lambda: Dripping(headers.encode()),
        lambda: Dripping(body.encode()),
        lambda: Deaf(stream.encode()),
    )


class Flood:
    """A relay of a log that never ends, and how many follow it."""

    def __init__(self):
        self.opened = self.closed = 0

    async def read(self, _instance_id, _query):
        self.opened += 1
        try:
            for seq in itertools.count(1):
                yield [api_fixtures.a_line(seq, "x" * 16000)]
                await asyncio.sleep(0)
        finally:
            self.closed += 1


async def connected(port, make):
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(sock, ("127.0.0.1", port))
    return (await loop.create_connection(make, sock=sock))[1]


async def gathered(port, makers):
    return [await connected(port, makers[number % len(makers)]) for number in range(COUNT)]


@pytest.fixture(params=["direct", pytest.param("nginx", marks=nginx_front.needs_nginx)])
def rig(request, monkeypatch):
    """(a client of the port to ask, the streams that are open behind it)"""
    for holder, name in (
        (server.BoundedProtocol, "header_timeout_s"),
        (server.BoundedProtocol, "stall_timeout_s"),
        (bridge.Bridge, "body_timeout_s"),
    ):
        monkeypatch.setattr(holder, name, LIMIT_S)
    flood = Flood()
    with contextlib.ExitStack() as stack:
        plane, client = stack.enter_context(api_fixtures.control_plane(**matrix_fixtures.MANY))
        plane.relay.read = flood.read
        assert client.post("/v1/deployments", api_fixtures.NODE_APP).status == 201
        if request.param == "nginx":
            front = nginx_front.nginx_front([client.port], buffering=False, patience_ms=int(LIMIT_S * 1000))
            client = api_fixtures.Client(stack.enter_context(front), client.token)
        yield client, flood


def test_two_hundred_slow_clients_are_ended_and_everybody_else_is_answered(rig):
    client, flood = rig
    ordinary = []

    def is_done(fact):
        """Meanwhile somebody asks."""
        ordinary.append(client.get("/v1/deployments").status)
        return fact()

    with api_fixtures.loop_thread() as outside:
        slow = outside.run(gathered(client.port, kinds(client.token)), 60)
        senders = [one for one in slow if isinstance(one, Dripping)]
        readers = [one for one in slow if isinstance(one, Deaf)]
        wait_until(lambda: is_done(lambda: all(one.over for one in senders)), 60, "the end of the slow senders")
        # The end of one that reads nothing shows behind it: it has not even read what came before.
        wait_until(lambda: is_done(lambda: flood.closed == len(readers)), 60, "the end of the streams")
        for one in readers:
            outside.loop.call_soon_threadsafe(one.listen)
        wait_until(lambda: all(one.over for one in readers), what="the end of the readers")
    assert set(ordinary) == {200}
    assert {one.told[9:12] for one in readers} == {b"200"}
    assert {one.told[9:12] for one in senders} <= {b"", b"400", b"408"}
