"""The use cases over SQLite on disk: many callers at once, and what is there after a new start."""

import asyncio
import dataclasses
import pathlib
import sys

import pytest

from control_plane import errors, store
from control_plane.domain import values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.notifier import LocalNotifier
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deployments import Deployments
from control_plane.services.desired import DesiredState
from control_plane.services.instances import Instances
from control_plane.services.routes import RouteFields, Routes
from control_plane.services.services import Services
from control_plane.services.status import Status
from tests import builders
from tests.builders import OPERATOR


@pytest.fixture
async def context(tmp_path):
    clock = builders.StillClock()
    opened = await store.open(tmp_path / "data" / "control-plane.db", clock)
    made = Context(opened, LocalNotifier(), clock, builders.CountingIds())
    await ensure_defaults(made)
    yield made
    await opened.close()


async def joined(context):
    instances = Instances(context)
    host = await instances.enrol(await instances.mint_join_token(None), "host-1")
    return host, await instances.connected(host.id, "0.1.0", "boot", {"memory_bytes": 1 << 30})


async def test_one_deployment_from_declaration_to_removal(context):
    host, epoch = await joined(context)
    deployments, status, desired = Deployments(context), Status(context), DesiredState(context)
    view = await deployments.create(OPERATOR, builders.some_fields(env={"A": "1"}))
    route = await Routes(context).create(OPERATOR, RouteFields("app.example.com", "app", 3000))
    (wish,) = await desired.newer_than(host.id, {})
    assert wish.release.config == builders.a_config()
    assert wish.routes == (route,)
    await desired.acknowledged(host.id, wish.service_id, wish.generation)
    said = (values.RouteReport(route.id, "active", ""),)
    await status.record(host.id, epoch, builders.a_report(wish.generation, service_id=wish.service_id, routes=said))
    seen = await deployments.get(OPERATOR, view.deployment.id)
    assert (seen.status, seen.live_release, seen.urls) == ("running", 1, ("http://app.example.com:8081/",))
    service = await Services(context).get(OPERATOR, "app")
    assert service.observed.processes == (builders.a_process(),)
    assert service.acknowledged == wish.generation
    assert (await Routes(context).get(OPERATOR, route.id)).status == "active"
    await deployments.delete(OPERATOR, "app")
    (tombstone,) = await desired.newer_than(host.id, {wish.service_id: wish.generation})
    gone = builders.a_report(tombstone.generation, service_id=wish.service_id, removed=True)
    await status.record(host.id, epoch, gone)
    assert await desired.newer_than(host.id, {}) == ()
    assert (await deployments.create(OPERATOR, builders.some_fields())).deployment.id != view.deployment.id


async def test_callers_at_once_lose_nothing(context):
    host, _ = await joined(context)
    deployments = Deployments(context)
    await deployments.create(OPERATOR, builders.some_fields())
    changes = [deployments.update(OPERATOR, "app", DeploymentChanges(env={f"K{n}": "1"})) for n in range(20)]
    restarts = [Services(context).restart(OPERATOR, "app") for _ in range(10)]
    routes = [Routes(context).create(OPERATOR, RouteFields(f"a{n}.example.com", "app", 3000)) for n in range(10)]
    reads = [deployments.list(OPERATOR) for _ in range(20)]
    done = await asyncio.gather(*changes, *restarts, *routes, *reads, return_exceptions=True)
    assert not [one for one in done if isinstance(one, BaseException)]
    (wish,) = await DesiredState(context).newer_than(host.id, {})
    assert (wish.generation, wish.restart, wish.release.number, len(wish.routes)) == (41, 10, 21, 10)
    assert len(wish.release.config.env) == 20
    states = [one.state for one in (await deployments.releases(OPERATOR, "app")).items]
    assert states == ["pending"] + ["superseded"] * 20


async def test_of_many_creations_and_domains_of_one_name_one_is_accepted(context):
    await joined(context)
    deployments, routes = Deployments(context), Routes(context)
    done = await asyncio.gather(
        *(deployments.create(OPERATOR, builders.some_fields()) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(one, errors.ConflictError) for one in done) == 19
    done = await asyncio.gather(
        *(routes.create(OPERATOR, RouteFields("app.example.com", "app", 3000)) for _ in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, errors.ConflictError) for one in done) == 19
    assert (await Services(context).get(OPERATOR, "app")).generation == 2


class ExhaustedIds(builders.CountingIds):
    """Fails at the release, the last of what a creation makes."""

    def new(self, prefix):
        if prefix == "rel":
            raise RuntimeError
        return super().new(prefix)


async def test_a_use_case_that_fails_at_its_end_leaves_no_row(context):
    await joined(context)
    with pytest.raises(RuntimeError):
        await Deployments(dataclasses.replace(context, ids=ExhaustedIds())).create(OPERATOR, builders.some_fields())
    assert (await Services(context).list(OPERATOR)).items == ()
    assert (await Deployments(context).list(OPERATOR)).items == ()


WRITER = """
import asyncio, pathlib, sys
from control_plane import store
from control_plane.clock import SystemClock, SystemIds
from control_plane.notifier import LocalNotifier
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deployments import Deployments
from control_plane.services.instances import Instances
from tests import builders

async def main(path):
    opened = await store.open(path, SystemClock())
    context = Context(opened, LocalNotifier(), SystemClock(), SystemIds())
    await ensure_defaults(context)
    instances = Instances(context)
    await instances.enrol(await instances.mint_join_token(None), "host-1")
    for number in range(10_000):
        view = await Deployments(context).create(builders.OPERATOR, builders.some_fields(name=f"app-{number}"))
        print(view.deployment.id, flush=True)

asyncio.run(main(pathlib.Path(sys.argv[1])))
"""


async def test_what_was_accepted_is_there_after_a_kill_at_any_moment(tmp_path):
    path = tmp_path / "data" / "control-plane.db"
    root = pathlib.Path(__file__).parents[2]
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(path), stdout=asyncio.subprocess.PIPE, cwd=root, env={"PYTHONPATH": str(root)}
    )
    accepted = [(await writer.stdout.readline()).decode().strip() for _ in range(15)]
    writer.kill()
    rest, _ = await writer.communicate()
    accepted += rest.decode().split("\n")[:-1]
    opened = await store.open(path, builders.StillClock())
    async with opened.read() as tx:
        rows = await tx.list_deployments(None, None, None, 20_000)
        whole = (
            await tx.newest_releases([row.id for row in rows]),
            await tx.services_by_id([r.service_id for r in rows]),
        )
    await opened.close()
    assert {row.id for row in rows} >= set(accepted)
    assert [len(one) for one in whole] == [len(rows)] * 2
