"""What git hosts send when somebody pushed: whose word it is, and what it asks for. Pure.

Three hosts, three dialects. Each signs the body as it was sent, or shows the secret itself (GitLab); only headers and
bytes decide that, before anything is parsed. Gitea and Forgejo sign like GitHub and name their events twice.
"""

import base64
import binascii
import dataclasses
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from control_plane.domain import grammar

BRANCHES = "refs/heads/"
EVENTS = ("x-gitea-event", "x-forgejo-event", "x-github-event", "x-gitlab-event")
DELIVERIES = ("x-gitea-delivery", "x-forgejo-delivery", "x-github-delivery", "x-gitlab-event-uuid", "webhook-id")
SIGNATURES = ("x-hub-signature-256", "x-gitea-signature", "x-forgejo-signature")
PUSHES = frozenset({"push", "Push Hook"})
MAX_DELIVERY = 200
TOLERANCE_S = 300.0
SECRET_PREFIX = "whsec_"  # noqa: S105 - the form that Standard Webhooks give a secret


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One request as it came. `headers` have names in lower case."""

    headers: Mapping[str, str]
    body: bytes = dataclasses.field(repr=False)

    @property
    def event(self) -> str:
        return _first(self.headers, EVENTS)

    @property
    def delivery(self) -> str:
        """What makes a repetition one: the host's own id, or the body when it sends none."""
        named = _first(self.headers, DELIVERIES)
        return named if 0 < len(named) <= MAX_DELIVERY else hashlib.sha256(self.body).hexdigest()


@dataclasses.dataclass(frozen=True, slots=True)
class Wish:
    """`commit` to deploy; empty: nothing, and `reason` says why."""

    commit: str = ""
    reason: str = ""


def is_authentic(call: Call, secret: str, now: float) -> bool:
    """Whether somebody who knows `secret` sent this. Every proof that is there must be right, and there must be one."""
    proofs = [_is_signed(call, name, secret) for name in SIGNATURES if name in call.headers]
    if "x-gitlab-token" in call.headers:
        proofs.append(_is_same(call.headers["x-gitlab-token"], secret))
    if "webhook-signature" in call.headers:
        proofs.append(_is_signed_by_standard(call, secret, now))
    return bool(proofs) and all(proofs)


def wish(call: Call, payload: Mapping[str, Any], branch: str) -> Wish:
    """What the call asks of a deployment that follows `branch`."""
    if call.event not in PUSHES:
        return Wish(reason=f"the event {call.event[:40]!r} deploys nothing" if call.event else "it names no event")
    ref, after = payload.get("ref"), payload.get("after")
    if not isinstance(ref, str) or not isinstance(after, str):
        return Wish(reason="the push names no ref and no commit")
    if not ref.startswith(BRANCHES):
        return Wish(reason="not a branch was pushed")
    if ref.removeprefix(BRANCHES) != branch:
        return Wish(reason=f"another branch than {branch} was pushed")
    if payload.get("deleted") is True or not after.strip("0"):
        return Wish(reason=f"the branch {branch} was deleted")
    if grammar.commit_issue(after) or len(after) < 40:
        return Wish(reason="the push names no whole commit")
    return Wish(commit=after.lower())


def _first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((headers[name] for name in names if headers.get(name)), "")


def _is_same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def _is_signed(call: Call, name: str, secret: str) -> bool:
    """An HMAC in hex; only the one of GitHub's name has a prefix, and must have it."""
    given, prefixed = call.headers[name], name == "x-hub-signature-256"
    if prefixed and not given.startswith("sha256="):
        return False
    wanted = hmac.new(secret.encode(), call.body, hashlib.sha256).hexdigest()
    return _is_same(given.removeprefix("sha256=") if prefixed else given, wanted)


def _is_signed_by_standard(call: Call, secret: str, now: float) -> bool:
    """The signature of Standard Webhooks, which newer GitLab has beside its token; too old a one is a repetition."""
    stamp = call.headers.get("webhook-timestamp", "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12) or abs(now - int(stamp)) > TOLERANCE_S:
        return False
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        return False
    signed = f"{call.headers.get('webhook-id', '')}.{stamp}.".encode() + call.body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(_is_same(one, wanted) for one in call.headers["webhook-signature"].split())
