"""What is decided about people without asking anybody: addresses, passwords, keys, scopes, and how long it is known."""

import json

import pytest

from control_plane import errors
from control_plane.domain import person, values
from control_plane.services import principals, signing
from control_plane.services.sessions import LOGIN_S
from tests import builders


def test_every_problem_of_an_account_is_named_at_once():
    with pytest.raises(errors.InvalidError) as caught:
        person.checked("nobody", "short")
    assert [one["field"] for one in caught.value.details["errors"]] == ["email", "password"]
    person.checked("Ada@Example.com", "long enough")
    person.checked()


@pytest.mark.parametrize("email", ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n.c", "a" * 251 + "@b.c"])
def test_what_is_no_address_is_refused(email):
    with pytest.raises(errors.InvalidError):
        person.checked(email)


@pytest.mark.parametrize("length", [0, 7, 1025])
def test_a_password_that_is_too_short_or_too_long_is_refused_under_its_own_field(length):
    with pytest.raises(errors.InvalidError) as caught:
        person.checked(password="x" * length, password_field="new")
    assert caught.value.details["field"] == "new"


def test_the_first_form_of_the_signing_key_is_still_read():
    assert signing.parse(json.dumps({"kid": "k", "secret": "s"})) == (signing.Key("k", "s"),)
    assert signing.parse(None) == signing.parse("") == ()


def test_a_signing_key_is_kept_as_long_as_a_token_of_it_may_live():
    keys = tuple(signing.Key(name, "s", made_at) for name, made_at in (("a", 0.0), ("b", 100.0), ("c", 200.0)))
    assert signing.still_needed(keys, 200.0) == keys
    assert signing.still_needed(keys, 100.0 + LOGIN_S) == keys[1:]
    assert signing.still_needed(keys, 1e12) == keys[2:]
    assert signing.still_needed((), 0.0) == ()


def test_no_secret_of_a_key_is_printed():
    assert "hidden" not in repr(signing.Key("k", "hidden"))


KNOWN = principals.Known(values.Principal("usr_1", "a@b.c"))


@pytest.fixture
def clock():
    return builders.StillClock()


@pytest.fixture
def cache(clock):
    return principals.Principals(clock)


def test_who_is_known_is_forgotten_after_two_seconds(cache, clock):
    cache.put("key", KNOWN, cache.version, clock.monotonic())
    clock.advance(1.9)
    assert cache.get("key") == KNOWN
    clock.advance(0.1)
    assert cache.get("key") is None
    assert cache.get("other") is None


def test_what_was_read_before_a_change_is_not_remembered_after_it(cache, clock):
    version = cache.version
    cache.clear()
    cache.put("key", KNOWN, version, clock.monotonic())
    assert cache.get("key") is None
    cache.put("key", KNOWN, cache.version, clock.monotonic())
    cache.clear()
    assert cache.get("key") is None


def test_the_cache_is_bounded(cache, clock):
    for number in range(principals.MAX_KNOWN + 10):
        cache.put(str(number), KNOWN, cache.version, clock.monotonic())
    assert len(cache._known) <= principals.MAX_KNOWN


def test_a_clock_that_went_back_makes_nothing_fresh(cache, clock):
    cache.put("key", KNOWN, cache.version, clock.monotonic() + 100)
    assert cache.get("key") is None
