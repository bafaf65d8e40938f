"""What is kept of measurements over time: which numbers, in which rings, and how they are shown."""

import datetime
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.domain import series
from control_plane.domain.series import Point
from tests.builders import START

HOUR = datetime.timedelta(hours=1)
FAMILIES = {
    "cpu": {"user": 12.5, "idle": 87.5},
    "load": [0.5, 0.4, 0.3],
    "memory": {"used_bytes": 100, "available_bytes": 900, "total_bytes": 1000},
    "swap": {"used_bytes": 0},
    "disks": [{"mount": "/", "used_bytes": 7}, {"mount": "/data", "used_bytes": 8}],
    "disk_io": {"read_bytes_per_second": 1.0, "written_bytes_per_second": 2.0},
    "network": [{"name": "eth0", "received_bytes_per_second": 3.0, "sent_bytes_per_second": 4.0}],
    "services": {"svc_1": {"cpu_percent": 50.0, "rss_bytes": 4096, "fds": None, "restarts": 2, "members": []}},
}


def said(moment):
    return moment.isoformat().replace("+00:00", "Z")


def window(since=None, until=None, step=None, now=START):
    return series.window(since and said(since), until and said(until), step, now)


def shown(points, step=10):
    return series.answer(points, series.Window(series.RINGS[0], step, 0.0, 1e9))


def test_the_rings_are_those_of_the_contract():
    assert [(ring.step_s, ring.kept_s, ring.places) for ring in series.RINGS] == [
        (10, 3600, 360),
        (60, 86_400, 1440),
        (600, 2_592_000, 4320),
    ]


def test_the_numbers_of_a_sample_are_named_and_labelled():
    found = series.answer([Point(10.0, 1, series.numbers(FAMILIES))], window())
    shown = {(one.name, *one.labels.items()): one.values[0] for one in found.series}
    assert shown == {
        ("cpu_percent", ("mode", "idle")): 87.5,
        ("cpu_percent", ("mode", "user")): 12.5,
        ("load", ("period", "1m")): 0.5,
        ("load", ("period", "5m")): 0.4,
        ("load", ("period", "15m")): 0.3,
        ("memory_used_bytes",): 100,
        ("memory_available_bytes",): 900,
        ("swap_used_bytes",): 0,
        ("disk_used_bytes", ("mount", "/")): 7,
        ("disk_used_bytes", ("mount", "/data")): 8,
        ("disk_read_bytes_per_second",): 1.0,
        ("disk_written_bytes_per_second",): 2.0,
        ("network_received_bytes_per_second", ("interface", "eth0")): 3.0,
        ("network_sent_bytes_per_second", ("interface", "eth0")): 4.0,
        ("service_cpu_percent", ("service", "svc_1")): 50.0,
        ("service_rss_bytes", ("service", "svc_1")): 4096,
        ("service_restarts", ("service", "svc_1")): 2,
    }


@pytest.mark.parametrize(
    "families",
    [
        {},
        {"cpu": 1, "load": {}, "memory": [], "disks": {"a": 1}, "network": [3], "services": [None]},
        {"cpu": {"user": True}, "load": ["1", None], "memory": {"used_bytes": {}}, "services": {"s": "text"}},
        {"cpu": {"user": float("inf")}, "memory": {"used_bytes": 10**400}},
    ],
)
def test_of_a_hostile_sample_nothing_is_taken(families):
    assert series.numbers(families) == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(st.dictionaries(st.sampled_from([*FAMILIES, "other"]), JSON))
def test_whatever_an_agent_sends_what_is_kept_is_bounded_and_can_be_written_as_json(families):
    found = series.numbers(families)
    assert len(found) <= series.MAX_NUMBERS
    json.dumps(found, allow_nan=False)


def test_of_too_many_numbers_those_of_the_host_come_first():
    many = {f"svc_{number}": {"cpu_percent": 1.0, "rss_bytes": 1} for number in range(1000)}
    found = series.numbers({**FAMILIES, "services": many})
    assert len(found) == series.MAX_NUMBERS
    assert "load|15m" in found
    assert all(len(key) <= 300 for key in series.numbers({"cpu": {"x" * 9999: 1.0}}))


def test_a_slot_holds_the_mean_of_what_came_in_it_and_the_peak_of_counts():
    point = series.merged(None, Point(60.0, 1, {"a": 1.0, "service_restarts|s": 5.0}))
    point = series.merged(point, Point(60.0, 1, {"a": 3.0, "service_restarts|s": 0.0}))
    point = series.merged(point, Point(60.0, 1, {"a": 8.0, "b": 7.0}))
    assert point == Point(60.0, 3, {"a": 4.0, "b": 7.0, "service_restarts|s": 5.0})


def test_a_new_turn_of_the_ring_forgets_the_former_one():
    ring = series.RINGS[0]
    assert ring.place(5.0) == ring.place(5.0 + ring.kept_s)
    assert series.merged(Point(0.0, 9, {"a": 1.0}), Point(3600.0, 1, {"a": 2.0})) == Point(3600.0, 1, {"a": 2.0})


@pytest.mark.parametrize(
    ("age", "step", "ring", "shown_step"),
    [
        (HOUR, None, 10, 10),
        (HOUR, 1, 10, 10),
        (HOUR, 25, 10, 30),
        (HOUR, 300, 60, 300),
        (24 * HOUR, None, 60, 60),
        (24 * HOUR, 10, 60, 60),
        (24 * HOUR, 86_400, 600, 86_400),
        (30 * 24 * HOUR, None, 600, 600),
        (400 * 24 * HOUR, 700, 600, 1200),
    ],
)
def test_the_finest_ring_that_reaches_back_answers_or_a_coarser_one_for_a_coarser_step(age, step, ring, shown_step):
    asked = window(since=START - age, step=step)
    assert (asked.ring.step_s, asked.step_s) == (ring, shown_step)


def test_without_times_it_is_the_last_hour():
    asked = window()
    assert (asked.since, asked.until) == ((START - HOUR).timestamp(), START.timestamp())
    assert asked.ring.step_s == 10


@pytest.mark.parametrize("since", [START, START + HOUR])
def test_a_time_that_ends_before_it_begins_is_refused(since):
    with pytest.raises(errors.InvalidError) as caught:
        window(since=since, until=START)
    assert caught.value.details["field"] == "from"


def test_steps_put_points_together_and_gaps_stay_gaps():
    points = [Point(0.0, 1, {"a": 1.0}), Point(10.0, 1, {"a": 3.0}), Point(60.0, 1, {"b": 5.0})]
    found = shown(points, step=30)
    assert found.times == (0.0, 60.0)
    assert {one.name: one.values for one in found.series} == {"a": (2.0, None), "b": (None, 5.0)}


def test_nothing_measured_is_nothing_shown():
    assert (shown([]).times, shown([]).series) == ((), ())
