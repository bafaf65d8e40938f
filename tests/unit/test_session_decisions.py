"""What the agent's end decides without a wire: how a wish is read, when to come back."""

import asyncio
import dataclasses
import random

import pytest

from control_plane.domain import values
from control_plane.hub import wire as hub_wire
from node_agent.model import spec
from node_agent.model.source import Access
from node_agent.session import wire
from node_agent.session.client import Ending, next_delay
from node_agent.session.settings import SessionSettings
from node_agent.session.tasks import undisturbed, until_first
from protos import agent_pb2 as pb
from tests.hub_fixtures import SERVICE, a_report, a_wish


def state(**changes) -> pb.ServiceState:
    message = hub_wire.desired(a_wish()).desired
    message.MergeFrom(pb.ServiceState(**changes))
    return message


def test_a_wish_survives_the_wire():
    wish = a_wish(generation=7)
    wanted = wire.wish(hub_wire.desired(wish).desired)
    config = wish.release.config
    read = dataclasses.asdict(wanted.release)
    for field in ("remote", "branch", "version", "build_cmd", "run_cmd", "working_dir", "static_dir", "port"):
        assert read[field] == getattr(config, field)
    assert wanted.release.env == (("A", "1"), ("B", "2"))
    assert read["health_check"] == dataclasses.asdict(config.health_check)
    assert wanted.routes[0] == spec.RouteSpec(wish.routes[0].id, "a.example.com", "/")
    assert (wanted.cancelled, wanted.poll_s) == (False, 0)


def test_all_of_a_configuration_survives_the_wire():
    wish = a_wish()
    config = dataclasses.replace(
        wish.release.config,
        source="local",
        env=(values.Variable("A", "1"), values.Variable("B", "2", secret=True)),
        git_token="ghp_1",
        deploy_key="key",
        git_host_key="ssh-ed25519 AAAA",
        submodules=True,
        replicas=3,
        resources=values.Resources(1 << 20, 0.5, 64, 1 << 30, strict=True),
        strategy=values.Strategy("canary", 10, (20, 50), 30.0),
        processes=(("worker", "python worker.py"),),
        process_replicas=(("clock", 0), ("worker", 3)),
        health_check=values.HealthCheck(kind="command", command="./ok"),
    )
    release = dataclasses.replace(wish.release, config=config, commit="", build_of=2, archive="d" * 64)
    wanted = wire.wish(hub_wire.desired(dataclasses.replace(wish, release=release, cancelled=True)).desired)
    read = dataclasses.asdict(wanted.release)
    assert wanted.release.access == Access("ghp_1", "key", "ssh-ed25519 AAAA")
    for field in ("source", "git_token", "submodules", "replicas", "processes", "process_replicas"):
        assert read[field] == getattr(config, field)
    for field in ("resources", "strategy", "health_check"):
        assert read[field] == dataclasses.asdict(getattr(config, field))
    assert (wanted.release.build_of, wanted.release.archive, wanted.release.commit) == (2, "d" * 64, "d" * 64)
    assert wanted.release.secret_keys == ("B",)
    assert wanted.release.build_env == (("A", "1"),)
    assert wanted.cancelled


def test_every_route_option_survives_the_wire():
    options = values.RouteOptions(
        tls="own",
        certificate="CERT",
        key="KEY",
        redirect_to="https://b.example.com",
        force_https=True,
        basic_auth=(("ann", "$6$x$y"),),
        headers=(("X-A", "1"), ("X-A", "2")),
        max_body_bytes=7,
        websocket=False,
        maintenance=True,
        weights=((SERVICE, 10),),
    )
    wish = a_wish()
    wish = dataclasses.replace(wish, routes=(dataclasses.replace(wish.routes[0], options=options),))
    (route,) = wire.wish(hub_wire.desired(wish).desired).routes
    assert dataclasses.asdict(route.options) == dataclasses.asdict(options)


@pytest.mark.parametrize(
    ("changes", "poll_s"),
    [({}, 60), ({"commit": "a" * 40}, 0), ({"source": "local"}, 0)],
    ids=["branch", "pin", "local"],
)
def test_only_a_branch_is_looked_at(changes, poll_s):
    wish = a_wish()
    release = dataclasses.replace(wish.release, config=dataclasses.replace(wish.release.config, **changes))
    wanted = wire.wish(hub_wire.desired(dataclasses.replace(wish, release=release, poll_s=60)).desired)
    assert wanted.poll_s == poll_s


def test_a_control_plane_that_knows_less_leaves_the_defaults():
    message = hub_wire.desired(a_wish()).desired
    for field in ("secret_keys", "source", "replicas", "resources", "strategy"):
        message.release.ClearField(field)
    message.routes[0].ClearField("options")
    wanted = wire.wish(message)
    assert (wanted.release.source, wanted.release.replicas, wanted.release.strategy) == ("remote", 1, spec.Strategy())
    assert wanted.routes[0].options == spec.RouteOptions()


def test_no_value_of_a_variable_is_ever_printed():
    wish = a_wish()
    config = dataclasses.replace(
        wish.release.config,
        env=(values.Variable("B", "hush-hush", secret=True),),
        git_token="hush-hush",
        deploy_key="hush-hush",
    )
    wish = dataclasses.replace(wish, release=dataclasses.replace(wish.release, config=config))
    assert "hush" not in repr(wish)
    assert "hush" not in repr(wire.wish(hub_wire.desired(wish).desired))


@pytest.mark.parametrize("run", list(values.Run))
def test_every_run_survives_the_wire(run):
    assert wire.wish(hub_wire.desired(a_wish(run=run)).desired).run.value == run.value


def test_a_tombstone_needs_no_release():
    wish = dataclasses.replace(a_wish(run=values.Run.REMOVED), release=None)
    assert wire.wish(hub_wire.desired(wish).desired).release is None


def _unknown_run() -> pb.ServiceState:
    message = state()
    message.run = 99
    return message


@pytest.mark.parametrize(
    "message",
    [
        pb.ServiceState(),
        _unknown_run(),
        state(service_id="../../etc"),
        state(generation=1 << 63),
        state(release=pb.Release(runtime="cobol")),
        state(release=pb.Release(health_check=pb.HealthCheck(timeout_s=float("nan")))),
        state(routes=[pb.Route(id="x;y")]),
        pb.ServiceState(service_id=SERVICE, generation=1, run=pb.RUN_RUNNING),
    ],
)
def test_what_this_version_cannot_read_is_ignored(message):
    assert wire.wish(message) is None


def test_a_report_survives_the_wire():
    said = a_report("words")
    read = hub_wire.report(wire.report(5, said).report)
    assert (read.sequence, read.service_id, read.removed) == (5, SERVICE, False)
    assert read.observed.generation == said.observed_generation
    assert dataclasses.asdict(read.observed.processes[0]) == dataclasses.asdict(said.processes[0])
    assert read.releases[0].changed_at == said.releases[0].changed_at


def test_text_that_is_no_unicode_still_goes_out():
    assert wire.report(1, a_report("bad \udcff byte")).report.message == "bad ? byte"


def test_the_back_off_grows_to_its_bound_with_jitter():
    settings, chance = SessionSettings(), random.Random(1)
    for failures in range(2000):
        delay = next_delay(Ending.BROKEN, failures, settings, chance)
        assert 0.125 <= delay <= 5.0
        if failures > 5:
            assert delay >= 2.5
    assert next_delay(Ending.RENEWED, 0, settings, chance) == 0.0
    assert next_delay(Ending.REFUSED, 0, settings, chance) >= 15.0


async def test_what_is_being_stored_is_stored_whole_when_the_connection_breaks():
    steps, gate = [], asyncio.Event()

    async def store():
        steps.append("begin")
        await gate.wait()
        steps.append("commit")

    task = asyncio.create_task(undisturbed(store()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["begin", "commit"]


async def test_jobs_end_together_and_an_error_comes_out():
    ended = asyncio.Event()

    async def forever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def broken():
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await until_first(forever(), broken())
    assert ended.is_set()


@pytest.mark.parametrize(
    ("sent", "logged"), [("req_1", "req_1"), ("", None), ("a b", None), ("x\n", None), ("x" * 65, None)]
)
def test_only_an_id_of_a_request_stands_in_the_agents_log(sent, logged):
    assert wire.request_id(pb.ServiceState(request_id=sent)) == logged
