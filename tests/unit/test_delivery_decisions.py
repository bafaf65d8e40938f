"""What follows from an attempt, when the next one is, what begins now, and what a receiver can verify."""

import base64
import datetime
import itertools

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.delivery import lanes, message
from control_plane.domain import retry, webhook
from tests.delivery_fixtures import START, a_delivery, a_target

chances = st.floats(0.0, 1.0, exclude_max=True)


def test_attempts_that_fail_at_once_are_made_at_the_hours_of_the_contract():
    at, made = 0.0, [0.0]
    for number in itertools.count(1):
        following = retry.next_attempt(number, at, at, 0.0)
        if following is None:
            break
        at = following
        made.append(at)
    assert made == [0, 5, 30, 120, 600, 3600, 21600, 86400]


@given(st.integers(1, 7), st.floats(0.0, 1e9), st.floats(0.0, 10.0), chances)
def test_jitter_is_only_ever_later_and_at_most_a_tenth(number, began, took, chance):
    exact = retry.next_attempt(number, began, began + took, 0.0)
    drawn = retry.next_attempt(number, began, began + took, chance)
    gap = retry.OFFSETS_S[number] - retry.OFFSETS_S[number - 1]
    assert exact <= drawn <= exact + gap * retry.JITTER + 1e-6


def test_a_receiver_that_is_slow_to_fail_gets_a_rest():
    assert retry.next_attempt(1, 100.0, 110.0, 0.0) == 115.0


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_success_is_delivered(status):
    assert webhook.judge(status, 1, 0.0, 0.0, 0.0) == webhook.Verdict(webhook.Outcome.DELIVERED)
    assert webhook.failure(status) == ""


@pytest.mark.parametrize("status", [0, 101, 199, 300, 301, 302, 304, 307, 308, 400, 404, 429, 500, 503, 599, 999])
def test_everything_else_is_tried_again_until_the_schedule_ends(status):
    assert webhook.judge(status, 1, 100.0, 100.0, 0.0) == webhook.Verdict(webhook.Outcome.RETRY, 105.0)
    assert webhook.judge(status, retry.ATTEMPTS, 100.0, 100.0, 0.0) == webhook.Verdict(webhook.Outcome.FAILED)
    assert str(status) in webhook.failure(status)


@pytest.mark.parametrize("number", [1, retry.ATTEMPTS])
def test_gone_disables_the_webhook(number):
    assert webhook.judge(410, number, 0.0, 0.0, 0.0).outcome is webhook.Outcome.DISABLED


def test_an_answer_becomes_text_that_a_database_can_hold():
    assert webhook.as_text(b"\0\xffok") == "\ufffd\ufffdok"
    assert len(webhook.as_text(b"x" * 10_000)) == webhook.MAX_RESPONSE


def test_a_secret_does_not_show():
    assert "webhook-secret" not in repr(a_target("https://example.com"))


@pytest.mark.parametrize(
    "secret", ["webhook-secret", "a", "пароль", "whsec_" + base64.b64encode(b"0" * 24).decode(), "whsec_MfKQ9r8GKYqrTw"]
)
def test_a_receiver_verifies_what_was_signed(secret):
    now = datetime.datetime.now(datetime.UTC)
    delivery = a_delivery()
    assert webhook.secret_issue(secret) == ""
    headers = message.headers(delivery, secret, now, "1.2.3")
    theirs = secret if secret.startswith("whsec_") else secret.encode()
    assert standardwebhooks.Webhook(theirs).verify(delivery.body, dict(headers))["data"] == {"number": 1}
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(b"other").verify(delivery.body, dict(headers))
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(theirs).verify(delivery.body + " ", dict(headers))


def test_the_headers_are_those_of_the_standard_and_ours():
    headers = message.headers(a_delivery(), "webhook-secret", START, "1.2.3")
    assert headers == {
        "Content-Type": "application/json",
        "User-Agent": "dployr/1.2.3",
        "X-Dployr-Event": "deployment.succeeded",
        "webhook-id": "evt_1",
        "webhook-timestamp": "1767323045",
        "webhook-signature": headers["webhook-signature"],
    }
    assert headers["webhook-signature"].startswith("v1,")


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_!!!!", "whsec_a", "a\nb", "x" * 257])
def test_a_secret_that_cannot_sign_is_refused_and_not_repeated(secret):
    assert webhook.secret_issue(secret)
    if webhook.key_of(secret):
        return
    with pytest.raises(errors.InvalidError) as caught:
        message.headers(a_delivery(), secret, START, "1")
    assert caught.value.details["field"] == "secret"
    assert "!!!!" not in caught.value.message


LIMITS = lanes.Limits(lane=3, webhook=2)


def due(*keys: str) -> list[lanes.Due]:
    return [
        (a_delivery(number, webhook_id=key[0], subject=key[1:]), a_target("https://example.com", key[0]))
        for number, key in enumerate(keys)
    ]


def names(chosen) -> list[str]:
    return [flight.webhook_id + flight.subject for flight, _due in chosen]


def test_an_object_is_never_twice_in_flight_to_one_webhook():
    flights = [lanes.Flight("a", "1", doubtful=False)]
    assert names(lanes.choose(due("a1", "b1", "b1"), flights, (), LIMITS)) == ["b1"]


def test_one_webhook_does_not_take_all_places():
    assert names(lanes.choose(due("a1", "a2", "a3", "b1"), (), (), LIMITS)) == ["a1", "a2", "b1"]


def test_receivers_that_fail_take_no_place_of_those_that_answer():
    flights = [lanes.Flight(webhook_id, "1", doubtful=True) for webhook_id in "xyz"]
    assert names(lanes.choose(due("x2", "a1"), flights, {"x", "y", "z"}, LIMITS)) == ["a1"]
    assert lanes.closed(flights, {"x", "y", "z", "w"}, LIMITS) == {"x", "y", "z", "w"}


def test_a_webhook_that_is_full_is_not_asked_for():
    flights = [lanes.Flight("a", "1", doubtful=False), lanes.Flight("a", "2", doubtful=False)]
    assert lanes.closed(flights, {"w"}, LIMITS) == {"a"}


keys = st.tuples(st.sampled_from("abcd"), st.sampled_from("12345")).map("".join)


@given(st.lists(keys), st.lists(keys, unique=True, max_size=4), st.sets(st.sampled_from("abcd")))
def test_no_choice_ever_exceeds_a_limit(wanted, flying, doubtful):
    flights = [lanes.Flight(key[0], key[1:], key[0] in doubtful) for key in flying]
    chosen = lanes.choose(due(*wanted), flights, doubtful, LIMITS)
    begun = [flight for flight, _due in chosen]
    every = flights + begun
    assert len({(flight.webhook_id, flight.subject) for flight in every}) == len(every)
    for flight in begun:
        assert sum(other.webhook_id == flight.webhook_id for other in every) <= LIMITS.webhook
        assert sum(other.doubtful == flight.doubtful for other in every) <= LIMITS.lane
