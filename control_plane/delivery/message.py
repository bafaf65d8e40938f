"""What a delivery looks like to its receiver: the headers of Standard Webhooks, and ours. Pure but for the library."""

import datetime
from collections.abc import Mapping

import standardwebhooks

from control_plane import errors
from control_plane.domain import webhook


def headers(delivery: webhook.Delivery, secret: str, at: datetime.datetime, version: str) -> Mapping[str, str]:
    """For an attempt at `at` (aware UTC). The id is the event's, the same on each attempt; the signature is fresh.

    InvalidError when the secret cannot sign; it is never repeated.
    """
    key = webhook.key_of(secret)
    if not key:
        raise errors.InvalidError.field(
            f"cannot sign: the webhook's secret {webhook.secret_issue(secret)}; set another one",
            "secret",
            "cannot sign",
        )
    # As bytes: the library would read a text as base64, and secrets are what their users typed.
    signature = standardwebhooks.Webhook(key).sign(delivery.event_id, at, delivery.body)
    return {
        "Content-Type": "application/json",
        "User-Agent": f"dployr/{version}",
        "X-Dployr-Event": delivery.event_type,
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }
