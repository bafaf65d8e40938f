"""Cron entries from their declaration over the wire to the decision to run one, and back to what the API shows."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.api import models_config, models_services
from control_plane.domain import abilities, declaration, deployment, differences, values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.hub import wire as hub_wire
from control_plane.store import services as stored_services
from detection import manifest, merge
from dployr.cli import deploy
from node_agent.model import actions, cron, decided, spec, status
from node_agent.model.cron import Step
from node_agent.model.process import JobResult
from node_agent.reconciler import plan
from node_agent.session import wire as agent_wire
from node_agent.state import codec
from protos import agent_pb2 as pb
from tests import builders
from tests.unit.test_plan import SERVICE, a_release, a_wish, serving

ABLE = abilities.Abilities(name="host-1", cron=True, processes=True, detects=abilities.DETECTED)
TIDY = {"schedule": "*/5 * * * *", "command": "./tidy"}
KEPT = values.CronEntry("tidy", "*/5 * * * *", "./tidy")


def accepted(able=ABLE, **changes):
    return deployment.validated(builders.some_fields(**changes), able=able)


def refused(able=ABLE, **changes):
    with pytest.raises(errors.InvalidError) as caught:
        accepted(able, **changes)
    details = caught.value.details
    return {problem["field"]: problem["issue"] for problem in details.get("errors", [details])}


# the declaration


def test_an_entry_is_kept_with_its_defaults_and_one_spelling():
    given_all = {"schedule": " @daily ", "command": " ./report ", "overlap": "replace", "timeout": "2h"}
    config = accepted(cron={"tidy": TIDY, "report": given_all})
    assert config.cron == (values.CronEntry("report", "@daily", "./report", "replace", 7200.0), KEPT)
    assert KEPT.overlap == "skip"
    assert KEPT.timeout_s == 3600.0


@pytest.mark.parametrize(
    ("entries", "field", "words"),
    [
        (
            {"tidy": {**TIDY, "schedule": "0 0 31 2 *"}},
            "cron.tidy.schedule",
            "never comes: no month that it names has a day 31",
        ),
        ({"tidy": {**TIDY, "schedule": "daily"}}, "cron.tidy.schedule", "must be five fields"),
        ({"tidy": {**TIDY, "schedule": 5}}, "cron.tidy.schedule", "must be five fields"),
        ({"tidy": {"command": "./tidy"}}, "cron.tidy.schedule", "is required"),
        ({"tidy": {"schedule": "@daily"}}, "cron.tidy.command", "is required"),
        ({"tidy": {**TIDY, "command": " "}}, "cron.tidy.command", "must be a command of at most 4096 characters"),
        ({"tidy": {**TIDY, "command": "a\0"}}, "cron.tidy.command", "must be a command of at most 4096 characters"),
        ({"tidy": {**TIDY, "overlap": "queue"}}, "cron.tidy.overlap", "must be one of skip, allow, replace"),
        ({"tidy": {**TIDY, "timeout": "25h"}}, "cron.tidy.timeout", "must be 1 to 86400 seconds"),
        ({"tidy": {**TIDY, "timeout": 10**400}}, "cron.tidy.timeout", "must be 1 to 86400 seconds"),
        ({"tidy": {**TIDY, "timeout": 0}}, "cron.tidy.timeout", "must be 1 to 86400 seconds"),
        ({"tidy": {**TIDY, "timezone": "Europe/Vienna"}}, "cron.tidy.timezone", "unknown field"),
        ({"Tidy": TIDY}, "cron.Tidy", "the name must be a letter, then up to 28 of a-z, 0-9 and -"),
        ({"t" * 30: TIDY}, f"cron.{'t' * 30}", "the name must be a letter"),
        ({f"tidy-{number}": TIDY for number in range(21)}, "cron", "must be at most 20"),
    ],
)
def test_an_entry_that_cannot_run_is_refused_by_its_field(entries, field, words):
    found = refused(cron=entries)
    assert found[field].startswith(words), found


def test_an_instance_that_runs_no_entries_says_so():
    assert refused(abilities.Abilities(name="host-1"), cron={"tidy": TIDY}) == {
        "cron": "instance host-1 runs no cron entries"
    }


def test_entries_alone_are_enough_to_deploy():
    able = dataclasses.replace(ABLE, detects=frozenset())
    assert accepted(able, run_cmd="", port=None, cron={"tidy": TIDY}).run_cmd == ""
    assert set(refused(able, run_cmd="", port=None)) == {"run_cmd", "port"}


def changed(config, **changes):
    return deployment.validated(deployment.merged("app", "default", config, DeploymentChanges(**changes)), able=ABLE)


def test_entries_merge_by_name_and_each_by_its_keys():
    config = accepted(cron={"tidy": {**TIDY, "timeout": 60}, "report": {"schedule": "@daily", "command": "./report"}})
    new = changed(config, cron={"tidy": {"schedule": "@hourly", "timeout": None}, "report": None})
    assert new.cron == (dataclasses.replace(KEPT, schedule="@hourly"),)
    assert changed(config, cron={}).cron == config.cron
    assert changed(new, description="other").cron == new.cron
    with pytest.raises(errors.InvalidError, match="Invalid deployment"):
        changed(config, cron={"tidy": {"command": None}})
    with pytest.raises(errors.InvalidError) as refusal:
        changed(config, cron={"tidy": {"time_out": None}})
    assert "unknown field" in str(refusal.value.details)
    assert declaration.config_of(deployment.declared("app", "default", config)).cron == config.cron


def test_a_change_of_an_entry_needs_a_release_and_is_told_whole():
    old, new = accepted(cron={"tidy": TIDY}), accepted(cron={"tidy": {**TIDY, "overlap": "allow"}})
    assert deployment.needs_release(old, new)
    (found,) = differences.of_configs(old, new)
    assert (found["field"], found["to"]["tidy"]["overlap"]) == ("cron", "allow")
    assert found["from"] == {"tidy": {**TIDY, "overlap": "skip", "timeout": 3600.0}}


def test_a_deployment_shows_its_entries_and_that_they_were_given():
    shown = models_config.fields_of(accepted(cron={"tidy": TIDY}, given=frozenset({"cron"})), ())
    assert shown["cron"]["tidy"].model_dump() == {**TIDY, "overlap": "skip", "timeout": 3600.0}
    assert shown["sources"]["cron"] == "given"


# the manifest


FILE = """
cron:
  tidy: {schedule: "0 4 * * *", command: ./tidy --all}
  report: {schedule: "@daily", command: ./report, overlap: allow, timeout: 10m}
"""


def test_a_file_of_the_source_may_name_entries_and_those_of_the_request_come_before_its():
    said = manifest.parse({"dployr.yaml": FILE})
    asked = dataclasses.replace(a_release(), cron=(spec.CronEntry("tidy", "@hourly", "./other"),))
    rows = decided.rows_of(merge.decide({}, said, decided.asked(asked)), said)
    report = spec.CronEntry("report", "@daily", "./report", "allow", 600.0)
    assert decided.effective(asked, rows).cron == (report, *asked.cron)
    bare = dataclasses.replace(asked, cron=())
    assert decided.effective(bare, rows).cron == (report, spec.CronEntry("tidy", "0 4 * * *", "./tidy --all"))
    assert {row.field for row in decided.still(rows, asked)} >= {"cron.report.schedule", "cron.report.timeout"}
    assert not any(row.field.startswith("cron.tidy") for row in decided.still(rows, asked))


# over the wire


def test_entries_arrive_at_the_agent_and_in_its_journal_as_they_were_declared():
    config = accepted(cron={"tidy": {**TIDY, "overlap": "allow", "timeout": 90}})
    release = values.Release(
        id="rel_1", deployment_id="dep_1", number=3, state="pending", cause="update", config=config, commit="", reason="",
        message="", created_at=builders.START, changed_at=builders.START,
    )  # fmt: skip
    wanted = values.Desired(SERVICE, 1, "app", values.Run.RUNNING, 0, release, ())
    message = pb.HubMessage.FromString(hub_wire.desired(wanted).SerializeToString())
    taken = agent_wire.wish(message.desired)
    assert taken.release.cron == (spec.CronEntry("tidy", "*/5 * * * *", "./tidy", "allow", 90.0),)
    assert codec.load_service(codec.dump(taken)) == taken
    message.desired.release.cron[0].name = "../x"
    assert agent_wire.wish(message.desired) is None


def test_what_became_of_an_entry_comes_to_the_api():
    told = status.CronReport("tidy", "@daily", 1795564800.0, 0.0, "")
    ran = status.CronReport("report", "@hourly", 0.0, 1795564800.5, "exited(3)")
    report = status.ServiceReport(SERVICE, 1, "running", "healthy", 1, "", (), (), (), cron=(told, ran))
    assert codec.load_report(codec.dump(report)) == report
    message = pb.AgentMessage.FromString(agent_wire.report(1, report).SerializeToString()).report
    observed = hub_wire.report(message).observed
    assert stored_services.observed_of(stored_services.document_of(observed), None) == observed
    assert [models_services.CronEntryShape.of(one).model_dump() for one in observed.cron] == [
        {"name": "tidy", "schedule": "@daily", "next_at": "2026-11-25T00:00:00.000Z", "last_started_at": None, "last_outcome": None},
        {"name": "report", "schedule": "@hourly", "next_at": None, "last_started_at": "2026-11-25T00:00:00.500Z", "last_outcome": "exited(3)"},
    ]  # fmt: skip
    assert stored_services.observed_of('{"processes": []}', None).cron == ()


# the decision


def entry(overlap="skip", schedule="*/5 * * * *"):
    return spec.CronEntry("tidy", schedule, "./tidy", overlap)


@pytest.mark.parametrize(
    ("overlap", "minute", "last", "under_way", "expected"),
    [
        ("skip", 100, None, 0, Step.START),
        ("skip", 101, None, 0, Step.NOTHING),
        ("skip", 100, 95, 0, Step.START),
        ("skip", 100, 100, 0, Step.NOTHING),  # it had its turn in this minute
        ("skip", 100, 95, 1, Step.SKIP),
        ("allow", 100, 95, 9, Step.START),
        ("allow", 100, 95, 10, Step.SKIP),
        ("replace", 100, 95, 1, Step.REPLACE),
        ("replace", 100, None, 0, Step.START),
        ("skip", 100, 130, 0, Step.NOTHING),  # the clock was set back
        ("skip", 100, 100_000, 0, Step.START),  # the clock was wrong
    ],
)
def test_what_becomes_of_an_entry_in_a_minute(overlap, minute, last, under_way, expected):
    assert cron.next_step(entry(overlap), minute, last, under_way) is expected


def test_an_entry_with_a_schedule_of_a_newer_control_plane_never_runs_and_says_so():
    assert cron.next_step(entry(schedule="@someday"), 100, None, 0) is Step.NOTHING
    assert cron.next_at(entry(schedule="@someday"), 100, None) == 0.0
    assert "cannot be read here" in cron.problem(entry(schedule="@someday"))
    assert cron.problem(entry()) == ""


@given(
    st.integers(1000, 1200),
    st.none() | st.integers(1000, 1200),
    st.sampled_from(["* * * * *", "*/7 * * * *", "3 * * * *"]),
)
def test_what_is_told_as_the_next_run_is_the_first_minute_in_which_it_is_started(minute, last, schedule):
    wanted = entry(schedule=schedule)
    started = next(at for at in range(minute, minute + 400) if cron.next_step(wanted, at, last, 0) is Step.START)
    assert cron.next_at(wanted, minute, last) == started * 60


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (JobResult("exited", 0, 1.0), "exited(0)"),
        (JobResult("signalled", 9, 1.0), "signalled(9)"),
        (JobResult("timeout", 15, 1.0), "timeout"),
        (JobResult("oom", 9, 1.0, ("more than 64 MiB of memory",)), "oom: more than 64 MiB of memory"),
        (JobResult("start_failed", 2, 0.0, ("No such file",)), "start_failed: No such file"),
        (None, "interrupted"),
    ],
)
def test_how_a_run_ended_in_words(result, expected):
    assert cron.words(result) == expected


def test_a_tree_in_which_an_entry_runs_is_kept_until_it_ended():
    sealed = tuple(plan.Sealed(number, ("web.1",)) for number in range(1, 9))
    facts = dataclasses.replace(serving(8), sealed=sealed, busy=frozenset({1}))
    wish = a_wish(release=8)
    (prune,) = plan.plan(wish, facts)
    assert prune == actions.Prune(frozenset({1, 4, 5, 6, 7, 8}))
    (prune,) = plan.plan(wish, dataclasses.replace(facts, busy=frozenset()))
    assert prune == actions.Prune(frozenset({4, 5, 6, 7, 8}))


@pytest.mark.parametrize("run", [spec.Run.STOPPED, spec.Run.REMOVED])
def test_runs_of_a_service_that_shall_stop_are_ended_before_anything_is_settled(run):
    busy = plan.Facts(busy=frozenset({1}))
    assert plan.plan(a_wish(run=run), busy) == (actions.EndRuns(),)


# the command line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tidy=*/5 * * * * ./tidy  --all", ("tidy", {"schedule": "*/5 * * * *", "command": "./tidy  --all"})),
        ("report=@daily ./report a=b", ("report", {"schedule": "@daily", "command": "./report a=b"})),
    ],
)
def test_an_entry_on_the_command_line_is_a_name_a_schedule_and_a_command(text, expected):
    assert deploy.fields_of({"cron": (text,)})["cron"] == dict([expected])


@pytest.mark.parametrize("text", ["tidy", "=@daily x", "tidy=@daily", "tidy=* * * * *"])
def test_what_is_none_is_refused(text):
    with pytest.raises(Exception, match="is not NAME=SCHEDULE COMMAND"):
        deploy.fields_of({"cron": (text,)})
