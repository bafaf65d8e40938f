"""What mutating operations take, derived from the URL map: nothing that the contract promises is forgotten on one of them."""

import pytest

from control_plane.api import mutations
from control_plane.web import app
from tests import api_fixtures

MUTATING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
# Each with its reason; a name that is no operation any more fails.
WITHOUT_KEY = {
    "auth.login": "an answer with credentials is not kept, and nobody is known yet whose key it could be",
    "auth.refresh": "as login; a refresh token is good for one use",
    "auth.logout": "the login that a repeat would come with has ended",
    "auth.setup": "as login; its token is good for one use",
    "hooks.receive": "git hosts send no such header; the id of their delivery is the key",
}
WITHOUT_GENERATION = {
    "auth.password": "of the caller's own account, whose present password it takes",
    "members.put": "a member has no generation",
    "members.remove": "a member has no generation",
    "tokens.delete": "a token never changes",
    "volumes.restore": "what a volume holds has no generation; its service must be stopped",
}
WITH_PLAN = ("/v1/deployments", "/v1/services", "/v1/proxy/routes", "/v1/instances", "/v1/projects")


@pytest.fixture(scope="module")
def rules():
    """(path, endpoint, methods that change something, mark) of every mutating operation."""
    with api_fixtures.loop_thread() as loop:
        made = api_fixtures.ControlPlane(loop, app.HttpSettings()).app
        yield [
            (rule.rule, rule.endpoint, MUTATING & rule.methods, mutations.declared(made.view_functions[rule.endpoint]))
            for rule in made.url_map.iter_rules()
            if MUTATING & rule.methods
        ]


def test_every_mutating_operation_takes_an_idempotency_key_but_those_of_logins(rules):
    assert {endpoint for _, endpoint, _, mark in rules if not mark.idempotent} == set(WITHOUT_KEY)


def test_every_change_and_deletion_of_an_object_takes_if_match(rules):
    of_objects = [(endpoint, mark) for _, endpoint, methods, mark in rules if methods - {"POST"}]
    assert {endpoint for endpoint, mark in of_objects if not mark.if_match} == set(WITHOUT_GENERATION)


def test_everything_of_deployments_services_routes_instances_and_projects_can_be_tried_first(rules):
    assert {endpoint for path, endpoint, _, mark in rules if path.startswith(WITH_PLAN) and not mark.dry_run} == set()
