"""What a view would ignore of a request, so it is refused: a query or a body, where the view takes none.

Views that take one have a model for it, which refuses what it does not know. `dry_run` is judged by commands.py.
"""

import inspect

import flask

from control_plane import errors
from control_plane.api import mutations, requests

EXTENSION = "dployr-ignored"
PREFIX = "/v1/"  # what load balancers and browsers ask for beside it may carry anything
RAW_BODIES = frozenset({"deployments.source", "volumes.restore", "hooks.receive"})  # read it themselves
NOTHING = frozenset({b"", b"{}"})


def install(app: flask.Flask) -> None:
    """Finds what each view takes once, after every blueprint is there."""
    names = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith(PREFIX)}
    app.extensions[EXTENSION] = {
        name: frozenset(inspect.signature(app.view_functions[name]).parameters) for name in names
    }


def refuse() -> None:
    """Before every view. InvalidError that names each parameter or field which the view does not have."""
    request, endpoint = flask.request, flask.request.endpoint or ""
    taken = flask.current_app.extensions[EXTENSION].get(endpoint)
    if taken is None:
        return
    mark = mutations.declared(flask.current_app.view_functions[endpoint])
    unknown = [] if "query" in taken else [name for name in request.args if mark is None or name != "dry_run"]
    if mark is not None and "body" not in taken and endpoint not in RAW_BODIES:
        unknown += _fields(request)
    if unknown:
        problems = [{"field": name[:128], "issue": "unknown field"} for name in unknown]
        raise errors.InvalidError.several("Invalid request", problems)


def _fields(request: flask.Request) -> list[str]:
    """Those of a body; an empty object says nothing, and many clients send one."""
    data = request.get_data(cache=True).strip()
    if data in NOTHING:
        return []
    if request.mimetype != "application/json":
        raise errors.InvalidError.field("cannot take a body here", "body", "not supported here; leave it out")
    return list(requests.parse(data))
