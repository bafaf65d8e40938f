"""T04: an object of another project costs what one costs that does not exist, so that no clock tells the two apart.

The statements are counted on a real database; nothing is timed. What is told stands in test_authorization_matrix.py.
"""

import datetime

import pytest

from control_plane import clock
from control_plane.api import access
from tests import api_fixtures, builders, matrix_fixtures, statements
from tests.matrix_fixtures import COMMON, FOREIGN, TABLE, WHO, expected
from tests.matrix_routes import Route, form

NAMES = {"$project": "project", "$deployment": "app", "$service": "app"}  # of foreign ones, behind `foreign-`
FOREIGNERS = [who for who in WHO if who not in matrix_fixtures.NOBODY]


class StoppedClock(builders.StillClock):
    """The present moment, for as long as the test runs: what is remembered of callers does not get old meanwhile."""

    def __init__(self):
        super().__init__()
        self._now = clock.SystemClock().now()

    def now(self):
        return self._now + datetime.timedelta(seconds=self.seconds)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    database = tmp_path_factory.mktemp("foreign") / "control-plane.db"
    with api_fixtures.control_plane({"clock": StoppedClock()}, database=database, **matrix_fixtures.MANY) as pair:
        yield matrix_fixtures.World(*pair)


def asked(world, route, who, ids):
    """The answer, and the statements behind it."""
    with statements.executed() as work:
        return route.send(who, ids), work


def hidden_from(route):
    """Those for whom the foreign object does not exist; a public route knows nobody."""
    if route.permission == access.PUBLIC:
        return ["anonymous"]
    kinds = route.call.kinds - COMMON
    return [who for who in FOREIGNERS if expected(route.world, route.permission, who, FOREIGN, kinds) == "hidden"]


def difference(route, who, foreign, nothing):
    """Between what is said and done about the two; "" when there is none."""
    route.send(who, nothing)  # from here on it is remembered who asks
    answer, work = asked(route.world, route, who, foreign)
    unknown, other = asked(route.world, route, who, nothing)
    if form(answer, [foreign[route.named]]) != form(unknown, [nothing[route.named]]):
        return f"{answer.text} and {unknown.text}"
    return "" if work == other else f"{work}\n\nand of nothing\n\n{other}"


@pytest.mark.parametrize("endpoint", [name for name, call in TABLE.items() if call.kinds - COMMON])
def test_a_foreign_object_costs_the_statements_of_one_that_does_not_exist(world, endpoint):
    route, found = Route(world, endpoint), {}
    for who in hidden_from(route):
        foreign = world.objects(FOREIGN, who)
        found[who] = difference(route, who, foreign, world.missing(foreign, route.named))
        if route.named in NAMES:
            named, unnamed = (foreign | {route.named: f"{side}-{NAMES[route.named]}"} for side in (FOREIGN, "missing"))
            found[f"{who}, by name"] = difference(route, who, named, unnamed)
    assert found
    assert {who: told for who, told in found.items() if told} == {}


def test_the_statements_of_a_request_are_seen(world):
    """The measure itself: an object that is found costs another one, and the database is asked at all."""
    route = Route(world, "deployments.get")
    _, of_own = asked(world, route, "owner", world.objects("own", "owner"))
    _, of_nothing = asked(world, route, "owner", world.objects(FOREIGN, "owner"))
    assert len(of_own) > len(of_nothing) >= 1
