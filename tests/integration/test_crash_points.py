"""Wherever in the table of deployments a daemon dies: it is started again, and everything ends as promised, without hands.

Generated over failpoints/table.py: each step of each way, before and after it, at each pass. The change is asked for by a
client that repeats its request until it is answered; another one asks the route all the time and never gets a wrong
answer; an oracle of its own (tests/oracle/host.py) looks at the host that is left. CRASH_SEED replays the sample of the
short run; TEST_ALL=1 dies everywhere.
"""

import collections
import os
import pathlib
import random
import secrets
import shutil
import tempfile

import pytest

from failpoints import table
from tests import crash_fixtures
from tests.oracle import host
from tests.waiting import wait_until

ALL = bool(os.environ.get("TEST_ALL"))
# Workers that share a run must draw the same sample.
SEED = os.environ.get("CRASH_SEED") or os.environ.get("PYTEST_XDIST_TESTRUNUID") or secrets.token_hex(4)
SAMPLE = 4
DOWN = {502, 503}  # while nothing of the service runs

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="the passes are counted where apps have users of their own"),
    pytest.mark.skipif(not pathlib.Path("/usr/sbin/nginx").exists(), reason="nginx is not installed"),
]


def every_point():
    """(step, way, point, pass), of one way after the other."""
    for way in dict.fromkeys(way for step in table.STEPS for way in step.ways):
        for step in table.STEPS:
            for number in range(1, step.ways.get(way, 0) + 1):
                for point in (step.before, step.after):
                    yield step, way, point, number


def chosen(every):
    drawn = random.Random(SEED).sample(every, SAMPLE)
    return [case for case in every if ALL or case in drawn or case[1:] in FAILED_ONCE]


# These are tried always, each with what it had left.
FAILED_ONCE = (
    (table.BUILT, "release.before_note", 7),  # a release that drained for ever
    (table.DELETE, "service.after_forgotten", 1),  # a deployment that was being deleted for ever
    (table.BUILT, "process.after_stop", 1),  # a port that nobody had, and nobody could have
)
CASES = chosen(list(every_point()))


def armed(point, number):
    return f"{point}=kill@{number}"


def first(process, cases):
    """What the daemon is armed with for its first case of these; each later one when it died in the one before."""
    return next((armed(*case[2:]) for case in cases if case[0].process == process), "")


@pytest.fixture(scope="module")
def ways():
    print(f"CRASH_SEED={SEED}")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="dployr-crash-"))
    try:
        begun = {process: first(process, CASES) for process in crash_fixtures.DAEMONS}
        with crash_fixtures.a_stack(directory, begun) as stack:
            yield crash_fixtures.Ways(stack)
    finally:
        shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("step", "way", "point", "number"),
    [pytest.param(*case, id="-".join(map(str, (case[0].process, *case[1:])))) for case in CASES],
)
def test_a_daemon_that_dies_at_this_point_leaves_what_its_successor_ends_as_promised(ways, step, way, point, number):
    stack, change = ways.stack, ways.prepare(way)
    app = change.app
    before = app.says() if app.live else None
    stack.arm(step.process, armed(point, number))
    stack.next[step.process] = first(step.process, CASES[CASES.index((step, way, point, number)) + 1 :])
    stack.at_death = change.at_death
    with crash_fixtures.Watch(stack, app.domain or "none.test") as watch:
        stack.open_gate(step.process)
        change.make()
        with stack.explained():
            if change.end != "gone":
                app.settle(change.end)
            wait_until(lambda: (stack.keep(), stack.deaths)[1], 60, f"the death at {point}", crash_fixtures.PAUSE_S)
            rests(ways)
    stack.at_death = lambda _: None
    assert stack.deaths == crash_fixtures.killed(step.process)
    if before is not None and app.live and change.end != "gone":
        assert stack.get(app.domain) == app.says()
        wrong = watch.answers - {before, app.says()}
        assert {answer for answer in wrong if way != table.TURNS or answer[0] not in DOWN} == set()
    change.tidy()


def rests(ways):
    """The host holds what it refers to and nothing else, and the control plane knows."""
    problems = []

    def look():
        ways.stack.keep()
        problems[:] = [*host.problems(ways.stack.agent_data, ways.serving(), ways.stopped()), *unknown(ways)]
        return not problems

    try:
        wait_until(look, 60, "rest", crash_fixtures.PAUSE_S)
    except AssertionError:
        pytest.fail("\n".join(problems))


def test_after_all_deaths_every_line_every_event_and_the_audit_are_there(ways):
    stack, apps = ways.stack, ways.apps.values()
    for app in apps:
        if ALL:  # the lease of a sender that was killed ends after 30 s
            wait_until(lambda app=app: app.released <= told(stack, app).keys(), 60, f"the events of {app.name}")
        assert {release: ids for release, ids in told(stack, app).items() if len(ids) != 1} == {}
        assert set(app.migrations().values()) <= {1, 2}
    stack.verify_audit()
    stack.down()
    for app in apps:
        assert app.judge_log() == []


def told(stack, app):
    """The releases of an app that a webhook said to have succeeded, and the ids under which it did."""
    found = collections.defaultdict(set)
    for number, said in stack.hook.seen:
        if (said["type"], said["data"]["name"]) == ("deployment.succeeded", app.name):
            found[said["data"]["release"]].add(number)
    return found


def unknown(ways):
    """What the control plane says otherwise than the outside."""
    for app in ways.apps.values():
        found = ways.stack.found(f"/v1/services/{app.name}")
        if not found or (found["live_release"] or 0) != app.live or found["observed_generation"] != found["generation"]:
            yield f"the control plane says of {app.name}, whose release {app.live} is live: {found}"
