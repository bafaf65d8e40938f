"""Who may call which view: declared beside it, enforced before it, closed when nothing is declared."""

from collections.abc import Callable
from typing import Any, TypeVar

import flask

from control_plane import errors
from control_plane.api import auth
from control_plane.domain import permissions

View = TypeVar("View", bound=Callable[..., Any])

ATTRIBUTE = "dployr_permission"
PUBLIC = "public"
SIGNED_IN = "signed-in"


class _Permission:
    """`@permission("deployment:write")`, `@permission.signed_in` or `@permission.public`, next to the function."""

    def __call__(self, name: str) -> Callable[[View], View]:
        if name not in permissions.ALL:
            raise ValueError(f"cannot declare {name!r}: no such permission in domain/permissions.py")
        return lambda view: _mark(view, name)

    def public(self, view: View) -> View:
        return _mark(view, PUBLIC)

    def signed_in(self, view: View) -> View:
        return _mark(view, SIGNED_IN)


permission = _Permission()


def _mark(view: View, name: str) -> View:
    setattr(view, ATTRIBUTE, name)
    return view


def declared(app: flask.Flask, endpoint: str) -> str | None:
    """What the view of `endpoint` declares; None when it declares nothing."""
    return getattr(app.view_functions.get(endpoint), ATTRIBUTE, None)


def refuse_undeclared(app: flask.Flask) -> None:
    """Raises RuntimeError at start when a view has no permission: nothing is open by omission."""
    missing = sorted({rule.endpoint for rule in app.url_map.iter_rules() if declared(app, rule.endpoint) is None})
    if missing:
        raise RuntimeError(f"cannot serve {', '.join(missing)}: declare a permission beside each view")


def enforce() -> None:
    """Before every view. An unknown path has no view: its 404 or 405 is told to anybody."""
    auth.demand_setup()
    endpoint = flask.request.endpoint
    if endpoint is None:
        return
    needed = declared(flask.current_app, endpoint)
    if needed == PUBLIC:
        return
    if flask.g.principal is None:
        raise auth.refuse()
    if needed is None:
        raise errors.ForbiddenError("cannot do this: the view declares no permission")
    if needed in permissions.INSTALLATION | permissions.ACCOUNT:  # the rest is asked of the object that is meant
        permissions.demand(flask.g.principal, needed)
