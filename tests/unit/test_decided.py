"""What a source decided, on its way: from the look at it to the release that runs, over the wire, to what the API shows."""

import calendar

import pytest

from control_plane.api import models_deployments
from control_plane.domain import abilities, declaration, origin, values
from control_plane.hub import wire as hub_wire
from control_plane.services import status as services_status
from detection import manifest, merge
from node_agent.model import decided, end_of_life, formation
from node_agent.model import status as agent_status
from node_agent.model.decided import Decided
from node_agent.model.spec import HealthCheck, Resources, Runtime
from node_agent.session import wire as agent_wire
from node_agent.state import codec
from protos import agent_pb2 as pb
from tests import builders
from tests.builder_fixtures import a_release

FILE = """
runtime: node
port: 8080
env: {A: file, B: file}
health_check: {path: /ready, timeout: 2s}
resources: {memory: 64M, strict: true}
processes: {worker: node w.js}
"""
ROWS = (
    Decided("runtime", "nodejs", "file", "dployr.yaml"),
    Decided("run_cmd", "npm start", "detected", "package.json has a start script"),
    Decided("env.A", "file", "file", "dployr.yaml"),
)
DETECTS = abilities.Abilities(detects=abilities.DETECTED)


def seen(release, files=None):
    said = manifest.parse({"dployr.yaml": FILE})
    return decided.rows_of(merge.decide(files or {}, said, decided.asked(release)), said)


def test_a_release_is_filled_up_with_what_its_source_decided():
    asked = a_release(runtime=Runtime.DETECT, env=(("A", "asked"),), given=("env",))
    found = decided.effective(asked, seen(asked))
    assert (found.runtime, found.port) == (Runtime.NODEJS, 8080)
    assert dict(found.env) == {"A": "asked", "B": "file"}
    assert found.health_check == HealthCheck("http", "/ready", timeout_s=2.0)
    assert found.resources == Resources(memory_bytes=64 << 20, strict=True)
    assert found.processes == (("worker", "node w.js"),)


def test_the_release_line_of_a_procfile_is_no_process():
    asked = a_release(runtime=Runtime.DETECT)
    found = decided.effective(asked, seen(asked, {"Procfile": "web: x\nrelease: migrate\nclock: c\n"}))
    assert [member.name for member in formation.formation(found, "", static=False)] == ["web.1", "clock.1", "worker.1"]
    assert formation.release_command(found) == "migrate"
    assert formation.release_command(asked) == ""


def test_how_often_a_process_runs_is_what_the_request_says_else_what_the_source_says():
    said = manifest.parse({"dployr.yaml": "processes: {a: {command: x, replicas: 2}, b: {command: y, replicas: 3}}"})
    asked = a_release(runtime=Runtime.NODEJS, run_cmd="", process_replicas=(("b", 0), ("c", 2)))
    rows = decided.rows_of(merge.decide({}, said, decided.asked(asked)), said)
    found = decided.effective(asked, rows)
    assert dict(found.process_replicas) == {"a": 2, "b": 0, "c": 2}
    assert [member.name for member in formation.formation(found, "", static=False)] == ["a.1", "a.2", "c.1", "c.2"]
    assert {row.field for row in decided.still(rows, asked)} >= {"process_replicas.a", "processes.b"}
    assert "process_replicas.b" not in {row.field for row in decided.still(rows, asked)}


def test_what_a_request_gives_stands_whatever_the_source_says():
    asked = a_release(
        runtime=Runtime.PYTHON, run_cmd="x", port=1, health_check=HealthCheck("tcp"), given=("port", "health_check")
    )
    found = decided.effective(asked, seen(asked))
    assert (found.runtime, found.run_cmd, found.port, found.health_check.kind) == (Runtime.PYTHON, "x", 1, "tcp")


def test_a_later_request_wins_over_a_build_that_is_used_again():
    first = a_release(runtime=Runtime.DETECT)
    rows = seen(first, {"package.json": '{"scripts": {"start": "x"}}'})
    assert decided.effective(first, rows).run_cmd == "npm start"
    later = a_release(2, runtime=Runtime.DETECT, run_cmd="node other.js", given=("run_cmd",))
    assert decided.effective(later, rows).run_cmd == "node other.js"
    assert "run_cmd" not in {row.field for row in decided.still(rows, later)}


def test_of_a_control_plane_that_does_not_tell_what_was_given_its_settings_stand():
    asked = a_release(runtime=Runtime.NODEJS, port=3000, health_check=HealthCheck("http", "/asked"))
    found = decided.effective(asked, seen(asked))
    assert (found.health_check.path, found.port) == ("/asked", 3000)
    assert found.resources.strict, "nobody asked for limits"


def test_without_rows_a_release_is_as_it_was_asked_for():
    asked = a_release()
    assert decided.effective(asked, ()) is asked


def test_rows_live_through_the_journal_and_the_manifest_of_a_release():
    assert decided.loaded(decided.dumped(ROWS)) == ROWS
    report = agent_status.ServiceReport("svc", 1, "running", "healthy", 1, "", (release_report(),), (), ())
    assert codec.load_report(codec.dump(report)) == report


def release_report(rows=ROWS):
    return agent_status.ReleaseReport(1, agent_status.ReleaseState.LIVE, decided=rows)


def sent(rows=ROWS):
    report = agent_status.ServiceReport(builders.an_id("svc"), 1, "running", "", 1, "", (release_report(rows),), (), ())
    return hub_wire.report(agent_wire.report(1, report).report).releases[0]


def test_rows_cross_the_wire_and_are_stored_with_the_release():
    said = sent()
    assert [(row.field, row.value, row.origin) for row in said.decided] == [
        (row.field, row.value, row.origin) for row in ROWS
    ]
    stored = services_status.advanced(builders.a_release(), said, builders.START)
    assert stored.decided == said.decided
    again = services_status.advanced(stored, sent(()), builders.START)
    assert again is None, "a report without rows takes none away"


def test_rows_of_an_agent_gone_wild_are_cut():
    row = Decided("f" * 900, "v" * 90_000, "file", "r" * 90_000)
    (kept, *more) = sent((row,) * 1000).decided
    assert (len(kept.field), len(kept.value), len(kept.reason)) == (hub_wire.MAX_WORD, hub_wire.MAX_VALUE, 200)
    assert len(more) < 500
    assert kept.value.endswith("v…"), "a value that is cut says so"
    assert sent((Decided("a", "b", "magic", ""),)).decided == ()


def test_the_wire_tells_what_was_given_and_an_open_runtime():
    config = builders.a_config(runtime="", run_cmd="", given=("source", "remote"))
    desired = values.Desired(
        builders.an_id("svc"), 1, "app", values.Run.RUNNING, 0, builders.a_release(config=config), ()
    )
    state = hub_wire.desired(desired).desired
    wish = agent_wire.wish(state)
    assert wish.release.runtime is Runtime.DETECT
    assert {"source", "remote", "env"} <= set(wish.release.given)
    assert "runtime" not in wish.release.given
    assert codec.load_service(codec.dump(wish)) == wish


def test_the_api_shows_where_each_value_came_from():
    config = builders.a_config(runtime="", run_cmd="", env=(), given=("source", "remote", "port"))
    rows = tuple(values.Decided(row.field, row.value, row.origin, row.reason) for row in ROWS)
    shown = models_deployments.ReleaseShape.of(builders.a_release(config=config, decided=rows)).config
    assert shown.sources["runtime"] == "file"
    assert shown.sources["run_cmd"] == "detected"
    assert shown.sources["env"] == "file"
    assert shown.sources["port"] == "given"
    assert shown.sources["replicas"] == "default"
    assert shown.decided[0].model_dump() == {
        "field": "runtime", "value": "nodejs", "source": "file", "reason": "dployr.yaml",
    }  # fmt: skip


def test_a_given_field_stays_given_whatever_the_rows_say():
    config = builders.a_config(given=("runtime",))
    assert origin.of_config(config, [values.Decided("runtime", "go", "file", "x")])["runtime"] == "given"


def test_runtime_start_and_port_may_be_left_open_where_the_instance_detects():
    fields = builders.some_fields(runtime="", version="", run_cmd="", port=None)
    assert declaration.problems(fields, DETECTS, allow_file=False, allow_ssh=False) == []
    assert {
        one["field"] for one in declaration.problems(fields, abilities.Abilities(), allow_file=False, allow_ssh=False)
    } == {*("runtime", "run_cmd", "port")}
    config = declaration.config_of(fields)
    assert (config.runtime, config.port) == ("", declaration.USUAL_PORT)


def test_a_release_command_alone_starts_nothing():
    able = abilities.Abilities(processes=True)
    fields = builders.some_fields(run_cmd="", processes={"release": "migrate"})
    (problem,) = declaration.problems(fields, able, allow_file=False, allow_ssh=False)
    assert problem["field"] == "run_cmd"
    fields = builders.some_fields(run_cmd="", processes={"release": "migrate", "worker": "work"})
    assert declaration.problems(fields, able, allow_file=False, allow_ssh=False) == []


def test_a_version_without_its_runtime_is_refused():
    fields = builders.some_fields(runtime="", version="20")
    (problem,) = declaration.problems(fields, DETECTS, allow_file=False, allow_ssh=False)
    assert problem == {"field": "version", "issue": "needs a runtime; give that too"}


def test_an_agent_names_the_fields_that_it_detects_and_its_lines_stand_in_order():
    facts = {"capabilities": {"detects": "runtime,magic"}, "runtimes": {"nodejs": "16,18,20", "go": "1.24,1.9"}}
    able = abilities.of(builders.an_instance(facts=facts))
    assert able.detects == {"runtime"}
    assert able.runtimes["nodejs"] == ("16", "18", "20", "22", "24")
    assert able.runtimes["go"] == ("1.9", "1.24")


NOW = calendar.timegm((2026, 11, 25, 0, 0, 0))


@pytest.mark.parametrize(
    ("runtime", "exact", "words"),
    [
        ("nodejs", "16.20.2", "nodejs 16 has had no security fixes since 2023-09-11; set version to 22 or 24"),
        (
            "python",
            "3.9.18",
            "python 3.9 has had no security fixes since 2025-10-31; set version to 3.11 or 3.12 or 3.13",
        ),
        ("go", "1.25.7", "go 1.25 has had no security fixes since 2026-08-19"),
        ("dotnet", "8.0.100", "dotnet 8.0 has had no security fixes since 2026-11-10; set version to 10.0"),
        ("nodejs", "24.1.0", ""),
        ("python", "3.13.1", ""),
        ("java", "17.0.1", ""),
        ("nodejs", "99.0.0", ""),
    ],
)
def test_an_old_line_is_warned_of_by_its_date(runtime, exact, words):
    assert end_of_life.warning(runtime, exact, NOW) == words


def test_the_day_before_its_end_a_line_is_fine():
    day = calendar.timegm((2023, 9, 10, 0, 0, 0))
    assert end_of_life.warning("nodejs", "16.20.2", day) == ""
    assert end_of_life.warning("nodejs", "16.20.2", day + 86_400)


def test_a_message_without_rows_is_that_of_an_older_agent():
    assert (
        hub_wire.report(pb.StatusReport(service_id=builders.an_id("svc"), releases=[pb.ReleaseReport()]))
        .releases[0]
        .decided
        == ()
    )
