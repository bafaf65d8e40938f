"""Lookups of names: one that is not answered holds up no other, and there is an end to how many wait."""

import asyncio
import socket
import threading

import pytest

from addresses import names
from addresses.names import Names
from node_agent.builder.egress import Egress
from node_agent.errors import ReleaseFailedError

SLOW = "slow.example.test"


@pytest.fixture
def answered(monkeypatch):
    """Until it is set nobody answers for SLOW."""
    event, real = threading.Event(), socket.getaddrinfo

    def look_up(host, *more, **named):
        if host == SLOW:
            event.wait()
        return real("127.0.0.1", *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield event
    event.set()


@pytest.mark.usefixtures("answered")
async def test_a_name_server_that_does_not_answer_holds_up_no_other_name():
    found = Names()
    waiting = asyncio.create_task(found.resolve(SLOW, 443))
    assert await found.resolve("git.example.test", 443) == ("127.0.0.1",)
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_names_that_nobody_answers_for_are_not_asked_without_end(answered):
    found = Names()
    waiting = [asyncio.create_task(found.resolve(SLOW, 443)) for _ in range(names.LOOKUPS)]
    await asyncio.sleep(0)
    with pytest.raises(OSError, match="too many names"):
        await found.resolve("git.example.test", 443)
    answered.set()
    assert await asyncio.gather(*waiting) == [("127.0.0.1",)] * names.LOOKUPS
    assert await found.resolve("git.example.test", 443) == ("127.0.0.1",)


@pytest.mark.usefixtures("answered")
async def test_a_fetch_waits_so_long_for_the_name_of_its_server():
    with pytest.raises(ReleaseFailedError, match="cannot find the address of slow"):
        await Egress(lookup_s=0).checked(SLOW, 443)
