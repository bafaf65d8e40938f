"""From a view that changes something to the unit that makes the change: headers in, answer out.

`Idempotency-Key`, `If-Match` and `?dry_run=true` count where the view's mark (mutations.py) says so, and are refused or
ignored nowhere else: a header that would be ignored is refused, so that nobody relies on it.
"""

import hashlib
import hmac
import inspect
import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import flask

from control_plane import errors
from control_plane.api import access, answers, context, limits, mutations
from control_plane.domain import permissions
from control_plane.services import unit

T = TypeVar("T")
KEY = re.compile(r"[\x21-\x7e]{1,255}")
TAG = re.compile(r'"([0-9]{1,18})"')
FLAGS = {"true": True, "1": True, "false": False, "0": False}


def run(work: Coroutine[Any, Any, T], shape: Callable[[T], unit.Answer], body_digest: str = "") -> flask.Response:
    """Run `work` (a call of one use case) as one change, and answer with what `shape` makes of its result.

    `shape` is called on the core loop and must not touch Flask. `body_digest` stands for a body that was streamed.
    """
    answer, replayed = made(work, shape, body_digest)
    return answers.of_answer(answer, {"Idempotency-Replayed": "true"} if replayed else {})


def made(
    work: Coroutine[Any, Any, T], shape: Callable[[T], unit.Answer], body_digest: str = ""
) -> tuple[unit.Answer, bool]:
    """As `run`, for a view that answers by itself: what is stored, and whether an earlier request left it."""
    api = context.current()
    try:
        answer: tuple[unit.Answer, bool] = api.call(api.services.changes.run(_request(body_digest), work, shape))
    finally:
        if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:  # refused before it began
            work.close()
    return answer


def is_dry_run() -> bool:
    return _dry_run(_marks())


def check_marks() -> None:
    """For a view that runs no unit: InvalidError for everything of a unit that the request asks for."""
    marks = _marks()
    _if_match(marks)
    _dry_run(marks)
    if not marks.idempotent and flask.request.headers.get("Idempotency-Key") is not None:
        issue = "not supported here; leave it out"
        raise errors.InvalidError.field("cannot take an idempotency key here", "Idempotency-Key", issue)


def _marks() -> mutations.Mutation:
    view = flask.current_app.view_functions.get(flask.request.endpoint or "")
    return mutations.declared(view) or mutations.Mutation()


def _request(body_digest: str) -> unit.Request:
    marks = _marks()
    key = _key() if marks.idempotent else ""
    return unit.Request(
        principal=_whose(),
        route=f"{flask.request.method} {flask.request.url_rule}",
        fingerprint=_fingerprint(body_digest) if key else "",
        key=key,
        if_match=_if_match(marks),
        dry_run=_dry_run(marks),
        request_id=flask.g.request_id,
        may_see=_demand(),
    )


def _whose() -> str:
    """Whose keys: a personal token that can do less, or ends, has its own, for an answer may hold more than it may see."""
    principal = context.principal()
    if principal.scopes is None and not principal.only and principal.until is None:
        return limits.caller()
    scopes = "all" if principal.scopes is None else ",".join(sorted(principal.scopes))
    within = f"{scopes} {principal.only} {principal.until or ''}"
    return f"{limits.caller()}|{hashlib.sha256(within.encode()).hexdigest()}"


def _demand() -> Callable[[str], None]:
    """What raises when the caller may not do in a project what the view is for. For the core loop: it touches no Flask."""
    principal = context.principal()
    needed = access.declared(flask.current_app, flask.request.endpoint or "")

    def demand(project: str) -> None:
        if needed not in permissions.OWNER:
            return  # access.py has asked already
        if not permissions.can_see(principal, project):
            raise errors.NotFoundError(
                "cannot repeat the answer: what it is about is not there any more, or not for you"
            )
        permissions.demand(principal, needed, project)

    return demand


def _fingerprint(body_digest: str) -> str:
    """What makes two requests the same: method, path, query and body.

    Keyed, because it is stored: from a plain digest of a body with a password the password could be guessed.
    """
    request, api = flask.request, context.current()
    pepper: bytes = api.call(api.services.accounts.pepper())
    body = body_digest.encode() or request.get_data(cache=True)
    said = (request.method.encode(), request.path.encode(), request.query_string, body)
    return hmac.new(pepper, b"\0".join(said), hashlib.sha256).hexdigest()


def _key() -> str:
    key = flask.request.headers.get("Idempotency-Key")
    if key is not None and not KEY.fullmatch(key):
        issue = "must be 1 to 255 printable ASCII characters without spaces"
        raise errors.InvalidError.field("cannot use the idempotency key", "Idempotency-Key", issue)
    return key or ""


def _if_match(marks: mutations.Mutation) -> frozenset[int] | None:
    header = flask.request.headers.get("If-Match")
    if header is None:
        return None
    if not marks.if_match:
        raise errors.InvalidError.field("cannot take If-Match here", "If-Match", "not supported here; leave it out")
    if header.strip() == "*":
        return unit.ANY
    tags = [TAG.fullmatch(tag.strip()) for tag in header.split(",")]
    if not all(tags):
        raise errors.InvalidError.field("cannot read If-Match", "If-Match", 'must be the ETag of the object, as "3"')
    return frozenset(int(tag[1]) for tag in tags if tag)


def _dry_run(marks: mutations.Mutation) -> bool:
    text = flask.request.args.get("dry_run")
    if text is None:
        return False
    if not marks.dry_run:
        raise errors.InvalidError.field("cannot try this without doing it", "dry_run", "not supported here")
    if text not in FLAGS:
        raise errors.InvalidError.field("cannot read dry_run", "dry_run", "must be true or false")
    return FLAGS[text]
