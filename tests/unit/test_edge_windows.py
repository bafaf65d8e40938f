"""What a store of windows does when another one is away, and when too many are open: with a clock that stands still."""

import datetime

import pytest

from control_plane import errors
from control_plane.api import limits, windows
from tests import builders


class Unsteady:
    """A shared store that can be away."""

    def __init__(self, clock):
        self.inner = windows.MemoryWindows(clock)
        self.is_away = False
        self.asked = 0

    def hit(self, key, seconds, amount=1):
        self._ask()
        return self.inner.hit(key, seconds, amount)

    def take_back(self, key, window):
        self._ask()
        self.inner.take_back(key, window)

    def look(self, key):
        self._ask()
        return self.inner.look(key)

    def _ask(self):
        self.asked += 1
        if self.is_away:
            raise windows.LostError("away")


@pytest.fixture
def clock():
    return builders.StillClock()


@pytest.fixture
def shared(clock):
    return Unsteady(clock)


@pytest.fixture
def store(shared, clock):
    return windows.SharedWindows(shared, windows.MemoryWindows(clock), clock)


def later(clock, seconds):
    clock.advance(seconds)


def test_the_count_goes_on_where_the_lost_store_stood(store, shared):
    for _ in range(10):
        store.hit("a", 3600)
    shared.is_away = True
    assert [store.hit("a", 3600).count for _ in range(3)] == [11, 12, 13]
    assert store.look("a").count == 13


def test_what_was_counted_meanwhile_is_added_when_the_store_is_back(store, shared, clock):
    store.hit("a", 3600)
    shared.is_away = True
    for _ in range(5):
        store.hit("a", 3600)
    shared.is_away = False
    later(clock, windows.LONGEST_PAUSE_S)
    assert store.hit("a", 3600).count == 7
    assert shared.inner.look("a").count == 7


def test_what_is_taken_back_from_a_lost_store_is_taken_back_when_it_is_there_again(store, shared, clock):
    window = store.hit("a", 3600)
    shared.is_away = True
    store.take_back("a", window)
    assert store.look("a").count == 0
    shared.is_away = False
    later(clock, windows.LONGEST_PAUSE_S)
    assert store.hit("a", 3600).count == 1


def test_a_lost_store_is_asked_by_one_request_after_each_pause(store, shared, clock):
    shared.is_away = True
    for _ in range(20):
        store.hit("a", 3600)
    assert shared.asked == 1
    later(clock, windows.FIRST_PAUSE_S)
    store.hit("a", 3600)
    store.look("a")
    assert shared.asked == 2
    later(clock, windows.FIRST_PAUSE_S)
    store.hit("a", 3600)
    assert shared.asked == 2  # the pause has doubled


def test_what_is_owed_to_a_window_that_ended_is_forgotten(store, shared, clock):
    shared.is_away = True
    store.hit("a", 60)
    later(clock, 61)
    shared.is_away = False
    assert store.hit("a", 60).count == 1


def test_memory_is_bounded_and_the_oldest_window_goes_first(clock):
    store = windows.MemoryWindows(clock, capacity=3)
    for key in "abcd":
        store.hit(key, 3600)
    assert store.look("a") is None
    assert [store.look(key).count for key in "bcd"] == [1, 1, 1]


def test_a_window_resets_at_a_whole_second_that_is_not_before_its_end(clock):
    window = windows.MemoryWindows(clock).hit("a", 3600)
    end = clock.now() + datetime.timedelta(seconds=3600)
    assert 0 <= window.resets_at - end.timestamp() < 1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:8080", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::9]", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unknown", "unknown"),
        ("192.0.2.7, 192.0.2.8", "unknown"),
        ("x" * 10_000, "unknown"),
    ],
)
def test_the_network_of_an_address(address, network):
    assert limits.network_of(address) == network


def test_a_store_that_no_thread_came_to_in_time_is_lost_and_fails_no_request(clock):
    pytest.importorskip("redis")

    def aside(_work):
        raise errors.UnavailableError("cannot answer in time: every thread is taken")

    store = windows.open_windows("redis://127.0.0.1:1", clock, aside)
    window = store.hit("a", 3600)
    assert store.look("a") == window
    store.take_back("a", window)
    assert store.hit("a", 3600).count == 1
