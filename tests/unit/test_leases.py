"""Who does what only one replica does: taken when free, renewed, taken over when it stood still, handed back."""

import contextlib

import pytest

from control_plane import errors
from control_plane.domain import lease
from control_plane.fakes.store import MemoryStore
from control_plane.notifier import LocalNotifier
from control_plane.services.context import Context
from control_plane.services.leases import Leasehold
from tests.builders import CountingIds, StillClock

TERMS = lease.Terms()


class Replicas:
    """Some replicas over one store; each has a clock of its own, and `pass_time` moves all of them."""

    def __init__(self, count: int = 2) -> None:
        self.store = MemoryStore()
        self.clocks = [StillClock() for _ in range(count)]
        for number, clock in enumerate(self.clocks):
            clock.advance(1000.0 * number)  # monotonic clocks of different machines have nothing in common
        self.holds = [
            Leasehold(Context(self.store, LocalNotifier(), clock, CountingIds()), "work", f"rep_{number}")
            for number, clock in enumerate(self.clocks)
        ]

    def pass_time(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.advance(seconds)

    async def look(self, *numbers: int) -> list[bool]:
        for number in numbers:
            await self.holds[number].look()
        return self.ours()

    def ours(self) -> list[bool]:
        return [hold.is_ours() for hold in self.holds]


async def test_the_first_replica_gets_the_lease_and_the_other_one_waits():
    replicas = Replicas()
    assert replicas.ours() == [False, False]
    assert await replicas.look(0, 1) == [True, False]


async def test_who_renews_keeps_it_for_ever():
    replicas = Replicas()
    for _ in range(20):
        assert await replicas.look(0, 1) == [True, False]
        replicas.pass_time(lease.RENEW_S)


async def test_a_silent_holder_is_replaced_after_the_length_of_the_lease_and_not_before():
    replicas = Replicas()
    await replicas.look(0, 1)
    for _ in range(2):
        replicas.pass_time(lease.RENEW_S)
        assert (await replicas.look(1))[1] is False
    replicas.pass_time(lease.LEASE_S - 2 * lease.RENEW_S)
    assert await replicas.look(1) == [False, True]


async def test_a_holder_that_was_paused_begins_nothing_although_it_did_not_look():
    replicas = Replicas()
    await replicas.look(0)
    replicas.pass_time(TERMS.usable_s)
    assert replicas.ours() == [False, False]


async def test_a_holder_that_comes_back_late_finds_the_other_one_and_waits():
    replicas = Replicas()
    await replicas.look(0, 1)
    replicas.pass_time(lease.LEASE_S)
    await replicas.look(1)
    assert await replicas.look(0) == [False, True]
    replicas.pass_time(lease.RENEW_S)
    assert await replicas.look(1, 0) == [False, True]


async def test_a_waiting_replica_that_was_paused_takes_nothing_that_was_renewed_meanwhile():
    replicas = Replicas()
    await replicas.look(0, 1)
    for _ in range(6):
        replicas.pass_time(lease.RENEW_S)
        await replicas.look(0)
    assert await replicas.look(1) == [True, False]


async def test_of_two_that_take_over_at_once_one_gets_it():
    replicas = Replicas(3)
    await replicas.look(0, 1, 2)
    replicas.pass_time(lease.LEASE_S)
    assert await replicas.look(1, 2) == [False, True, False]


async def test_what_was_handed_back_is_free_at_once():
    replicas = Replicas()
    await replicas.look(0, 1)
    await replicas.holds[0].hand_back()
    assert replicas.ours() == [False, False]
    assert await replicas.look(1) == [False, True]
    await replicas.holds[0].hand_back()  # not ours any more: it stays with the other
    replicas.pass_time(lease.RENEW_S)
    assert await replicas.look(1) == [False, True]


async def test_a_database_that_cannot_be_asked_ends_nothing_and_prolongs_nothing():
    replicas = Replicas()
    await replicas.look(0)

    @contextlib.asynccontextmanager
    async def busy():
        raise errors.UnavailableError("cannot store anything now: the database is busy; try again")
        yield

    replicas.store.write = busy
    replicas.pass_time(TERMS.usable_s - 1)
    with pytest.raises(errors.UnavailableError):
        await replicas.holds[0].look()
    assert replicas.ours() == [True, False]
    replicas.pass_time(1)
    assert replicas.ours() == [False, False]
    await replicas.holds[0].hand_back()


def test_a_holder_is_done_with_what_it_began_before_another_one_may_take_over():
    longest_attempt_s = 10.0 + 1.0  # docs/explanation/webhooks.md: the answer, and the rest of its body
    assert TERMS.lease_s - TERMS.usable_s > longest_attempt_s
    assert TERMS.usable_s > lease.RENEW_S
