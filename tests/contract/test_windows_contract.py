"""One suite over every store of the quota's windows: in memory, in a real Redis, and the two together."""

import concurrent.futures

import pytest

from control_plane import clock
from control_plane.api import windows
from tests import redis_server
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def redis():
    if redis_server.REDIS is None:
        pytest.skip("redis-server is not installed")
    with redis_server.redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis", "shared"])
def store(request):
    system = clock.SystemClock()
    if request.param == "memory":
        return windows.MemoryWindows(system)
    url = request.getfixturevalue("redis").url
    return windows.open_windows(url, system) if request.param == "shared" else windows.RedisWindows(url, system)


@pytest.fixture
def key():
    return clock.SystemIds().new("key")


def test_a_hit_gives_the_window_as_it_left_it(store, key):
    first = store.hit(key, 3600)
    assert first.count == 1
    assert store.hit(key, 3600) == windows.Window(2, first.resets_at)
    assert store.hit(key, 3600, 5) == windows.Window(7, first.resets_at)


def test_a_look_changes_nothing_and_finds_no_window_before_the_first_hit(store, key):
    assert store.look(key) is None
    window = store.hit(key, 3600)
    assert store.look(key) == store.look(key) == window


def test_a_window_ends_whole_and_the_next_one_begins_at_one(store, key):
    first = store.hit(key, 1, 41)
    wait_until(lambda: store.look(key) is None, what="the end of the window")
    second = store.hit(key, 3600)
    assert second.count == 1
    assert second.resets_at > first.resets_at


def test_a_hit_that_is_taken_back_is_not_counted(store, key):
    store.hit(key, 3600)
    store.take_back(key, store.hit(key, 3600))
    assert store.hit(key, 3600).count == 2


def test_what_is_taken_back_from_a_window_that_ended_is_no_budget_for_the_next(store, key):
    """Else whoever lets good logins straddle the end of a minute guesses more often in the next."""
    first = store.hit(key, 1)
    wait_until(lambda: store.look(key) is None, what="the end of the window")
    store.take_back(key, first)
    assert store.look(key) is None
    assert store.hit(key, 3600).count == 1
    store.take_back(key, first)
    assert store.hit(key, 3600).count == 2


def test_keys_have_windows_of_their_own(store, key):
    store.hit(key, 3600, 9)
    assert store.hit(f"{key}-other", 3600).count == 1


def test_no_two_hits_at_once_get_the_same_count(store, key):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        counts = list(pool.map(lambda _: store.hit(key, 3600).count, range(400)))
    assert sorted(counts) == list(range(1, 401))
