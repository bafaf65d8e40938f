"""What stands behind the `?` of an address, for views that take nothing there: it would be ignored, so it is refused.

Views that take a query have a model for it, which refuses what it does not know. `dry_run` is judged by commands.py.
"""

import inspect

import flask

from control_plane import errors
from control_plane.api import mutations

EXTENSION = "dployr-queries"
PREFIX = "/v1/"  # what load balancers and browsers ask for beside it may carry anything


def install(app: flask.Flask) -> None:
    """Finds the views without a query once, after every blueprint is there."""
    rules = (rule for rule in app.url_map.iter_rules() if rule.rule.startswith(PREFIX))
    names = {rule.endpoint for rule in rules}
    app.extensions[EXTENSION] = frozenset(name for name in names if not _takes_query(app, name))


def refuse_ignored() -> None:
    """Before every view. InvalidError that names each parameter which the view does not have."""
    endpoint = flask.request.endpoint or ""
    if not flask.request.args or endpoint not in flask.current_app.extensions[EXTENSION]:
        return
    mark = mutations.declared(flask.current_app.view_functions[endpoint])
    unknown = [name for name in flask.request.args if mark is None or name != "dry_run"]
    if unknown:
        problems = [{"field": name[:128], "issue": "unknown field"} for name in unknown]
        raise errors.InvalidError.several("Invalid request", problems)


def _takes_query(app: flask.Flask, endpoint: str) -> bool:
    return "query" in inspect.signature(app.view_functions[endpoint]).parameters
