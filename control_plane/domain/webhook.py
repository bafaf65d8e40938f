"""Webhooks as values, and what an answer means for a delivery. Pure: times and chance are arguments."""

import base64
import binascii
import dataclasses
import datetime
import enum

from control_plane.domain import retry

WAITING = "waiting"
DELIVERED = "delivered"
FAILED = "failed"  # the schedule is exhausted, or the webhook is disabled
STATES = frozenset({WAITING, DELIVERED, FAILED})

MAX_RESPONSE = 4096
MAX_ERROR = 500
MAX_SECRET = 256
MAX_DESCRIPTION = 1000
GONE = 410
ENCODED_SECRET = "whsec_"  # noqa: S105 — the mark of a secret that is written in base64, not a secret


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook. Order is kept per webhook and subject, the object that the event is about.

    `id` is the delivery's own; receivers see `event_id`, the same on each attempt. `body` is what is sent and signed,
    to the byte. `attempts` counts those that were made; `next_at` is in seconds since the epoch.
    """

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    subject: str
    sequence: int
    body: str
    state: str
    attempts: int
    next_at: float
    created_at: datetime.datetime
    changed_at: datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One try. Status 0: no answer, and `error` says why. `response` holds the first 4 KiB of the answer."""

    delivery_id: str
    number: int
    at: datetime.datetime
    status: int
    error: str
    response: str
    duration_ms: int


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """Where a webhook's deliveries go."""

    webhook_id: str
    url: str
    secret: str = dataclasses.field(repr=False)
    disabled: bool = False


class Outcome(enum.Enum):
    DELIVERED = "delivered"
    RETRY = "retry"
    FAILED = "failed"
    DISABLED = "disabled"  # the receiver wants nothing more: the webhook ends, and what waits for it


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """What follows from an attempt; `next_at` counts with RETRY only."""

    outcome: Outcome
    next_at: float = 0.0


def judge(status: int, number: int, began_at: float, ended_at: float, chance: float) -> Verdict:
    """What follows when attempt `number`, counted from 1, ended with `status`. A redirect is a failed attempt."""
    if 200 <= status < 300:
        return Verdict(Outcome.DELIVERED)
    if status == GONE:
        return Verdict(Outcome.DISABLED)
    next_at = retry.next_attempt(number, began_at, ended_at, chance)
    return Verdict(Outcome.FAILED) if next_at is None else Verdict(Outcome.RETRY, next_at)


def after(delivery: Delivery, attempt: Attempt, verdict: Verdict) -> Delivery:
    """`delivery` as it stands once `attempt` was made."""
    moved = dataclasses.replace(delivery, attempts=attempt.number, changed_at=attempt.at)
    match verdict.outcome:
        case Outcome.DELIVERED:
            return dataclasses.replace(moved, state=DELIVERED)
        case Outcome.RETRY:
            return dataclasses.replace(moved, next_at=verdict.next_at)
        case Outcome.FAILED | Outcome.DISABLED:
            return dataclasses.replace(moved, state=FAILED)


def failure(status: int) -> str:
    """Words for an answer that is no success; empty for one that is."""
    if 200 <= status < 300:
        return ""
    if 300 <= status < 400:
        return f"answered {status}: redirects are not followed; set the address it redirects to"
    return f"answered {status}" + (": gone, so the webhook is disabled" if status == GONE else "")


def as_text(body: bytes) -> str:
    """The beginning of an answer as text that any database can hold."""
    return body[:MAX_RESPONSE].decode("utf-8", "replace").replace("\0", "\ufffd")


def description_issue(description: str) -> str:
    is_good = len(description) <= MAX_DESCRIPTION and description.replace("\n", " ").replace("\t", " ").isprintable()
    return "" if is_good else f"must be at most {MAX_DESCRIPTION} printable characters"


def secret_issue(secret: str) -> str:
    """What is wrong with a signing secret, "" when nothing is."""
    if not secret or len(secret) > MAX_SECRET:
        return f"must have 1 to {MAX_SECRET} characters"
    if not secret.isprintable():
        return "must not hold control characters"
    return "" if key_of(secret) else f"must be base64 after {ENCODED_SECRET}"


def key_of(secret: str) -> bytes:
    """The key that a secret stands for: what is behind `whsec_` decoded, or its own bytes. Empty when it is malformed."""
    if not secret.startswith(ENCODED_SECRET):
        return secret.encode("utf-8", "replace")
    text = secret.removeprefix(ENCODED_SECRET).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""
