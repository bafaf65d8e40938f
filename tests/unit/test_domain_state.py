"""Presence, placement, public words of services, cursors and permissions."""

import dataclasses
import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.domain import instance, paging, permissions, service, values
from tests import builders


def after(seconds):
    return builders.START + datetime.timedelta(seconds=seconds)


def test_presence_ends_with_the_lease():
    host = builders.an_instance(online=True, last_seen=builders.START)
    assert instance.is_online(host, after(40))
    assert not instance.is_online(host, after(40.001))
    assert not instance.is_online(dataclasses.replace(host, online=False), after(0))
    assert not instance.is_online(dataclasses.replace(host, last_seen=None), after(0))
    assert not instance.presented(host, after(41)).online


def first(hosts, services=None, wanted=None):
    return instance.candidates(hosts, services or {}, builders.START, wanted)[0]


def test_without_an_instance_there_is_no_place():
    with pytest.raises(errors.UnavailableError, match="join one"):
        instance.candidates([], {}, builders.START)


def test_a_place_is_online_first_and_then_where_most_room_is():
    small = builders.an_instance(id="ins_a", facts={"memory_bytes": 1})
    large = builders.an_instance(id="ins_b", facts={"memory_bytes": 8})
    away = builders.an_instance(id="ins_c", facts={"memory_bytes": 64}, online=False)
    assert first([small, large, away]) is large
    assert first([small, large, away], {"ins_b": 9}) is small
    assert first([away]) is away


def test_a_place_that_is_asked_for_is_found_by_id_name_and_labels():
    plain = builders.an_instance(id="ins_a", name="a")
    ssd = builders.an_instance(id="ins_b", name="b", labels=(("disk", "ssd"), ("zone", "1")))
    assert first([plain, ssd], wanted=instance.Place("ins_b")) is ssd
    assert first([plain, ssd], wanted=instance.Place("a")) is plain
    assert first([plain, ssd], wanted=instance.Place(labels=(("disk", "ssd"),))) is ssd


@pytest.mark.parametrize("closed", [{"cordoned": True}, {"draining": True}, {"revoked": True}])
def test_a_closed_instance_gets_nothing_new(closed):
    host = builders.an_instance(**closed)
    with pytest.raises(errors.UnavailableError, match="cordoned"):
        instance.candidates([host], {}, builders.START)
    with pytest.raises(errors.InvalidError) as caught:
        instance.candidates([host], {}, builders.START, instance.Place(host.name))
    assert caught.value.details["field"] == "instance"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [(instance.Place("none"), "instance"), (instance.Place(labels=(("disk", "ssd"),)), "placement.labels")],
)
def test_a_place_that_is_nowhere_is_refused_by_its_field(wanted, field):
    with pytest.raises(errors.InvalidError) as caught:
        instance.candidates([builders.an_instance(name="a")], {}, builders.START, wanted)
    assert caught.value.details["field"] == field


def test_the_status_of_an_instance_tells_late_heartbeats_and_draining():
    host = builders.an_instance()
    assert instance.status_of(host, after(1)) == "online"
    assert instance.status_of(host, after(26)) == "degraded"
    assert instance.status_of(host, after(41)) == "offline"
    assert instance.status_of(dataclasses.replace(host, draining=True), after(1)) == "draining"
    assert instance.view(host, 3, after(41)).services == 3


def test_labels_merge_by_key_and_taking_services_again_ends_a_drain():
    host = builders.an_instance(labels=(("a", "1"), ("b", "2")), cordoned=True, draining=True)
    changed = instance.changed(host, {"a": None, "c": "3"}, cordoned=False)
    assert changed.labels == (("b", "2"), ("c", "3"))
    assert (changed.cordoned, changed.draining) == (False, False)
    assert instance.changed(host, {}, None) == host
    with pytest.raises(errors.InvalidError):
        instance.changed(host, {"-": "x"}, None)


@pytest.mark.parametrize(
    ("run", "generation", "observed", "word"),
    [
        (values.Run.RUNNING, 1, values.Observed(), "starting"),
        (values.Run.RUNNING, 1, values.Observed(1, "running"), "running"),
        (values.Run.RUNNING, 2, values.Observed(1, "running"), "running"),
        (values.Run.RUNNING, 2, values.Observed(1, "stopped"), "starting"),
        (values.Run.RUNNING, 1, values.Observed(1, "failed"), "failed"),
        (values.Run.RUNNING, 2, values.Observed(1, "failed"), "starting"),
        (values.Run.RUNNING, 1, values.Observed(1, "from a newer agent"), "starting"),
        (values.Run.STOPPED, 2, values.Observed(1, "running"), "stopping"),
        (values.Run.STOPPED, 2, values.Observed(2, "stopped"), "stopped"),
        (values.Run.STOPPED, 1, values.Observed(), "stopped"),
        (values.Run.REMOVED, 2, values.Observed(1, "running"), "stopping"),
    ],
)
def test_a_wish_that_is_not_answered_yet_shows(run, generation, observed, word):
    assert service.public_status(builders.a_service(run=run, generation=generation, observed=observed)) == word


def test_the_public_words_of_a_service_are_total():
    words = [*service.STATUSES, "unknown", "nonsense"]
    for run, status, seen in itertools.product(values.Run, words, (0, 1, 2)):
        found = builders.a_service(run=run, generation=1, observed=values.Observed(seen, status, "odd"))
        assert service.public_status(found) in service.STATUSES
        assert service.presented(found, online=True, now=builders.START).observed.health in service.HEALTHS


def test_of_a_host_that_is_away_no_health_is_known():
    found = builders.a_service(observed=values.Observed(1, "running", "healthy"))
    assert service.public_health(found, online=True) == "healthy"
    assert service.public_health(found, online=False) == "unknown"


@given(st.datetimes(timezones=st.just(datetime.UTC)), st.from_regex(r"[a-z]{3}_[0-9A-Z]{26}", fullmatch=True))
def test_a_cursor_comes_back_as_it_went(moment, object_id):
    at = paging.position(moment, object_id)
    assert paging.decode(paging.encode(at)) == at
    assert paging.split(at) == (moment, object_id)


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: paging.base64.urlsafe_b64encode(raw).decode()))
def test_any_other_text_is_a_bad_cursor(text):
    try:
        paging.decode(text)
    except errors.InvalidError as refused:
        assert refused.details["field"] == "cursor"


@pytest.mark.parametrize("limit", [0, -1, 201])
def test_a_limit_out_of_bounds_is_refused(limit):
    with pytest.raises(errors.InvalidError) as caught:
        paging.checked_limit(limit)
    assert caught.value.details["field"] == "limit"


def a_member(role, **changes):
    return values.Principal("usr_member", "member@example.com", roles={"prj_1": role}, **changes)


def test_operators_may_all_and_strangers_nothing_of_a_project():
    for permission in permissions.ALL:
        permissions.demand(builders.OPERATOR, permission, "prj_1")
    for permission in permissions.OWNER:
        with pytest.raises(errors.ForbiddenError):
            permissions.demand(builders.NOBODY, permission, "prj_1")
    with pytest.raises(ValueError, match="no such permission"):
        permissions.demand(builders.OPERATOR, "deployment:eat")


def test_each_role_may_what_the_one_below_may_and_more():
    roles = list(permissions.ROLES.values())
    assert all(low < high for low, high in itertools.pairwise(roles))
    for role, held in permissions.ROLES.items():
        assert {one for one in permissions.OWNER if permissions.may(a_member(role), one, "prj_1")} == held
        assert not any(permissions.may(a_member(role), one, "prj_2") for one in permissions.OWNER)
        assert not any(permissions.may(a_member(role), one) for one in permissions.INSTALLATION)


def test_a_token_narrows_and_never_widens():
    scoped = a_member("viewer", scopes=frozenset({"deployment:read", "deployment:write"}))
    assert [one for one in sorted(permissions.ALL) if permissions.may(scoped, one, "prj_1")] == ["deployment:read"]
    elsewhere = dataclasses.replace(builders.OPERATOR, only="prj_2")
    assert not permissions.can_see(elsewhere, "prj_1")
    assert permissions.may(elsewhere, "deployment:write", "prj_2")
    assert not any(permissions.may(elsewhere, one) for one in permissions.INSTALLATION)


def test_lists_show_what_may_be_read():
    assert permissions.visible(builders.OPERATOR, "deployment:read") is None
    assert permissions.visible(builders.NOBODY, "deployment:read") == frozenset()
    assert permissions.visible(a_member("viewer"), "deployment:read") == {"prj_1"}
    assert permissions.visible(a_member("developer"), "audit:read") == frozenset()
    with pytest.raises(errors.ForbiddenError):
        permissions.visible(a_member("owner", scopes=frozenset({"route:read"})), "deployment:read")


def test_the_conditions_of_a_service_tell_what_is_so_and_what_is_unknown():
    found = builders.a_service(generation=2, observed=values.Observed(2, "running", "healthy"))

    def words(service_now, online):
        shown = service.presented(service_now, online=online, now=builders.START)
        return {one.type: (one.status, one.reason) for one in shown.conditions}

    assert words(found, online=True) == {
        "Reachable": ("True", "Connected"),
        "Synced": ("True", "Answered"),
        "Ready": ("True", "Running"),
        "Healthy": ("True", "Healthy"),
    }
    away = words(dataclasses.replace(found, generation=3), online=False)
    assert away["Reachable"] == ("False", "Disconnected")
    assert {away[name][0] for name in ("Synced", "Ready", "Healthy")} == {"Unknown"}
    late = words(dataclasses.replace(found, generation=3), online=True)
    assert late["Synced"] == ("False", "Pending")


def an_observed(health, *, pid, restarts, kind="", status="running", message=""):
    crash = values.Crash(kind, 15, "", 0.0, 0.0, 0.0, 0, ()) if kind else None
    process = values.Process("web.1", 1, "running", pid, 20001, 0.0, restarts, "", crash)
    return values.Observed(1, status, health, 1, message, (process,))


def test_a_process_that_is_replaced_for_its_health_is_told_as_unhealthy_and_not_as_crashed():
    well = an_observed("healthy", pid=7, restarts=0)
    sick = an_observed("unhealthy", pid=7, restarts=0)
    back = an_observed("unhealthy", pid=8, restarts=1, kind="unhealthy")
    again = an_observed("healthy", pid=8, restarts=1, kind="unhealthy")
    assert service.happened(well, sick) == ("service.unhealthy",)
    assert service.happened(sick, back) == ()
    assert service.happened(back, again) == ("service.recovered",)
    assert service.happened(well, again) == ()
    assert service.happened(again, an_observed("healthy", pid=9, restarts=2, kind="oom")) == ("service.crashed",)


def test_the_condition_of_its_health_says_what_its_check_found():
    sick = builders.a_service(observed=an_observed("unhealthy", pid=7, restarts=0, message="web.1 is unhealthy: why"))
    shown = service.presented(sick, online=True, now=builders.START).conditions
    assert ("False", "web.1 is unhealthy: why") in {(one.status, one.message) for one in shown}
    assert {one.type: one.status for one in shown}["Ready"] == "True"
