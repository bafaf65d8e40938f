"""Every route, asked by everybody, about an object of the own project and of a foreign one, as JSON and as a stream.

What is expected is computed from the permission that the view declares and from the domain's tables. A foreign object is
answered to the letter like one that does not exist.
"""

import pytest

from control_plane.api import access
from tests import api_fixtures, matrix_fixtures
from tests.matrix_fixtures import COMMON, FOREIGN, OWN, TABLE, WHO, expected
from tests.matrix_routes import Route, form

REFUSALS = frozenset({401, 403, 404})


@pytest.fixture(scope="module")
def world():
    with api_fixtures.control_plane(**matrix_fixtures.MANY) as (plane, client):
        yield matrix_fixtures.World(plane, client)


def fault_of(route, who, side):
    """What is wrong with the answers to `who` about `side`; "" when nothing is."""
    world, ids = route.world, route.world.objects(side, who)
    wanted = expected(world, route.permission, who, side, route.call.kinds - COMMON)
    answer = route.ask(who, ids)
    if wanted == "hidden":
        missing = world.missing(ids, route.named)
        is_named_in_path = route.named in route.call.path.values()
        if answer.status != 404 and (is_named_in_path or answer.status != 400):
            return f"{answer.status} instead of 404: {answer.text}"
        unknown = route.ask(who, missing)
        if form(answer, [ids[route.named]]) != form(unknown, [missing[route.named]]):
            said, of_nothing = form(answer, [ids[route.named]]), form(unknown, [missing[route.named]])
            return f"{said} differs from what is said of nothing: {of_nothing}"
    elif wanted == "ok" and answer.status in (REFUSALS | {400, 500}) - route.call.answers:
        return f"{answer.status} instead of an answer: {answer.text}"
    elif wanted in {"401", "403"} and answer.status != int(wanted):
        return f"{answer.status} instead of {wanted}: {answer.text}"
    if route.method == "GET" and (status := route.head(who, ids)) != answer.status:
        return f"{status} for HEAD, and {answer.status} for GET"
    if route.is_followed and (status := route.stream(who, ids)) != answer.status:
        return f"{status} for the stream, and {answer.status} for the page"
    return ""


def faults_of(route):
    found = {f"{who}, {side}": fault_of(route, who, side) for side in route.sides() for who in WHO}
    return {asked: fault for asked, fault in found.items() if fault}


def test_every_endpoint_stands_in_the_table(world):
    """Add a line to TABLE in tests/matrix_fixtures.py for a new one."""
    assert set(TABLE) == {rule.endpoint for rule in world.plane.app.url_map.iter_rules()}


@pytest.mark.parametrize("endpoint", TABLE)
def test_everybody_gets_what_the_permission_says(world, endpoint):
    route = Route(world, endpoint)
    if route.permission == access.PUBLIC:
        assert len({route.ask(who, world.objects(OWN, who)).status for who in WHO}) == 1
        return
    assert faults_of(route) == {}
    if route.is_list_of_projects:
        assert faults_of(route.by_project) == {}


@pytest.mark.parametrize("endpoint", [name for name, call in TABLE.items() if not call.kinds and not call.body])
def test_a_list_shows_nothing_of_a_foreign_project(world, endpoint):
    route = Route(world, endpoint)
    secret = [one for kind, one in world.ids[FOREIGN].items() if kind not in COMMON | {"$member", "$other"}]
    for who in set(WHO) - {matrix_fixtures.OPERATOR}:
        shown = route.ask(who, {}).text
        assert [one for one in secret if one in shown] == [], who


@pytest.mark.parametrize(
    "endpoint", [name for name, call in TABLE.items() if len(call.kinds - COMMON - {"$member", "$other"}) > 1]
)
def test_what_belongs_to_a_foreign_object_is_not_found_below_an_own_one(world, endpoint):
    route = Route(world, endpoint)
    mixed = {**world.ids[FOREIGN], route.named: world.ids[OWN][route.named]}
    for who in ("owner", matrix_fixtures.OPERATOR):
        answer = route.ask(who, mixed)
        assert answer.status in {400, 404}, f"{who}: {answer.text}"


@pytest.mark.parametrize("role", matrix_fixtures.ROLES)
def test_the_matrix_would_see_a_view_that_asks_too_little(world, role):
    """The expectation itself: a role that lacks a permission is refused, one that has it is not."""
    has = {"viewer": "deployment:read", "developer": "env:write", "admin": "member:write", "owner": "project:delete"}
    lacks = {"viewer": "deployment:write", "developer": "member:write", "admin": "project:delete"}
    kinds = frozenset({"$project"})
    assert expected(world, has[role], role, OWN, kinds) == "ok"
    assert expected(world, has[role], role, FOREIGN, kinds) == "hidden"
    if role in lacks:
        assert expected(world, lacks[role], role, OWN, kinds) == "403"
