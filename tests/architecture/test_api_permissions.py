"""Deny by default: every view declares who may call it, and what is public is listed here on purpose."""

import flask
import pytest

from control_plane.api import access
from control_plane.web import app
from tests import api_fixtures


@pytest.fixture(scope="module")
def plane():
    with api_fixtures.loop_thread() as loop:
        yield api_fixtures.ControlPlane(loop, app.HttpSettings())


def test_a_view_without_a_permission_stops_the_start():
    app = flask.Flask("open", static_folder=None)
    app.add_url_rule("/open", "open", lambda: "open")
    with pytest.raises(RuntimeError, match="cannot serve open"):
        access.refuse_undeclared(app)


def test_every_view_of_the_app_declares_a_permission(plane):
    declared = {str(rule): access.declared(plane.app, rule.endpoint) for rule in plane.app.url_map.iter_rules()}
    assert None not in declared.values()
    public = {rule for rule, permission in declared.items() if permission == access.PUBLIC}
    assert public == {
        "/", "/health", "/ready", "/metrics", "/v1/version", "/v1/openapi.json", "/v1/auth/login", "/v1/auth/refresh",
        "/v1/hooks/<deployment>/<token>",
        "/v1/auth/setup",
    }  # fmt: skip


def test_a_permission_that_does_not_exist_cannot_be_declared():
    with pytest.raises(ValueError, match="no such permission"):
        access.permission("deployment:everything")
