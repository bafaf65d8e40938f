"""Instances for operators, over the store in memory: labels, cordon, drain, removal, invitations, placement."""

import dataclasses

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.services import unit
from control_plane.services.instances import Entrance, InstanceChanges, Instances
from tests import builders
from tests.builders import OPERATOR
from tests.unit.test_services_life import a_plane, ensure_defaults

SIMPLE = values.Principal(builders.an_id("usr", 9), "simple@example.com", roles={builders.an_id("prj"): "owner"})
ENTRANCE = Entrance("hub.example.com:8443", "hub.example.com:8444", "f" * 64)


@pytest.fixture
async def plane():
    made = a_plane()
    await ensure_defaults(made.context)
    await made.join()
    return made


async def deploy(plane, name="app", **fields):
    view = await plane.deployments.create(OPERATOR, builders.some_fields(name=name, **fields))
    async with plane.store.read() as tx:
        host = await tx.find_instance((await tx.find_service(view.deployment.service_id)).instance_id)
    return host.name


async def change(plane, name, **changes):
    return await plane.instances.update(OPERATOR, name, InstanceChanges(**changes))


async def events(plane):
    async with plane.store.read() as tx:
        return [event.type for event in await tx.list_events(None, values.EventQuery(), 0, 100)]


async def test_labels_merge_and_count_the_generation_once(plane):
    shown = await change(plane, "host-1", labels={"disk": "ssd", "zone": "a"})
    assert (dict(shown.labels), shown.generation) == ({"disk": "ssd", "zone": "a"}, 2)
    shown = await change(plane, "host-1", labels={"zone": None})
    assert (dict(shown.labels), shown.generation) == ({"disk": "ssd"}, 3)
    assert (await change(plane, "host-1", labels={"disk": "ssd"})).generation == 3
    assert (await plane.actions()).count("instance.updated") == 2


async def test_a_service_is_placed_by_labels_by_name_and_where_it_can_run(plane):
    await plane.join("host-2")
    able = {"memory_bytes": 1, "capabilities": {"replicas": "5", "sources": "local,remote"}}
    await plane.instances.connected(plane.instance.id, "0.1.0", "boot", able)
    await change(plane, "host-2", labels={"disk": "ssd"})
    assert await deploy(plane, "one") == "host-1"
    assert await deploy(plane, "two", placement={"disk": "ssd"}) == "host-2"
    assert await deploy(plane, "three", instance="host-2") == "host-2"
    assert await deploy(plane, "four", replicas=5) == "host-2"
    with pytest.raises(errors.InvalidError) as caught:
        await deploy(plane, "five", replicas=5, instance="host-1")
    assert caught.value.details["field"] == "replicas"
    async with plane.store.read() as tx:
        said = [row for row in plane.store.audit if row.action == "deployment.created"]
        assert said[1].data["reason"].startswith("with the labels asked for")
        assert await tx.count_services()


async def test_a_cordoned_instance_gets_nothing_new_and_keeps_what_it_has(plane):
    assert await deploy(plane, "one") == "host-1"
    await change(plane, "host-1", cordoned=True)
    with pytest.raises(errors.UnavailableError, match="cordoned"):
        await deploy(plane, "two")
    await plane.deployments.redeploy(OPERATOR, "one")
    await change(plane, "host-1", cordoned=False)
    assert await deploy(plane, "two") == "host-1"


async def test_draining_is_cordoning_with_a_list_of_what_is_left(plane):
    await deploy(plane, "one")
    shown, left = await plane.instances.drain(OPERATOR, "host-1")
    assert (shown.status, shown.cordoned, shown.services) == ("draining", True, 1)
    assert [service.name for service in left] == ["one"]
    assert (await plane.instances.drain(OPERATOR, "host-1"))[0].generation == shown.generation
    assert "instance.drained" not in await events(plane)
    again = await change(plane, "host-1", cordoned=False)
    assert (again.status, again.cordoned) == ("online", False)


async def test_a_drain_is_done_when_the_last_service_is_gone(plane):
    await deploy(plane, "app")
    await plane.instances.drain(OPERATOR, "host-1")
    await plane.deployments.delete(OPERATOR, "app")
    await plane.report(await plane.services.get(OPERATOR, "app"), removed=True)
    assert (await events(plane)).count("instance.drained") == 1
    await plane.instances.remove(OPERATOR, "host-1")


async def test_draining_an_empty_instance_is_done_at_once(plane):
    await plane.instances.drain(OPERATOR, "host-1")
    assert "instance.drained" in await events(plane)


async def test_an_instance_with_services_is_not_removed_and_says_which_are_on_it(plane):
    await deploy(plane, "one")
    with pytest.raises(errors.ConflictError) as caught:
        await plane.instances.remove(OPERATOR, "host-1")
    assert caught.value.details == {"services": ["one"], "count": 1}


async def test_a_removed_instance_is_refused_when_it_connects(plane):
    await plane.instances.remove(OPERATOR, "host-1")
    with pytest.raises(errors.ForbiddenError, match="join again"):
        await plane.instances.connected(plane.instance.id, "0.1.0", "boot", {})
    with pytest.raises(errors.ForbiddenError, match="join again"):
        await plane.instances.heartbeat(plane.instance.id, plane.epoch)
    with pytest.raises(errors.NotFoundError):
        await plane.instances.get(OPERATOR, "host-1")
    assert "instance.removed" in await events(plane)


async def test_an_invitation_is_a_token_with_the_fingerprint_and_the_command(plane):
    instances = Instances(plane.context, lambda: ENTRANCE)
    made = await instances.invite(OPERATOR)
    secret, _, fingerprint = made.token.partition(".")
    assert fingerprint == ENTRANCE.fingerprint
    assert f"--hub {ENTRANCE.hub} --enrol {ENTRANCE.enrol}" in made.command
    assert made.token in made.command
    assert (made.expires_at - plane.clock.now()).total_seconds() == 900
    assert secret not in str([dataclasses.asdict(row) for row in plane.store.audit])
    assert (await instances.enrol(secret, "host-2")).name == "host-2"
    with pytest.raises(errors.UnauthenticatedError):
        await instances.enrol(secret, "host-3")
    with pytest.raises(errors.UnavailableError, match="hub"):
        await plane.instances.invite(OPERATOR)


async def test_a_dry_run_of_an_invitation_makes_none(plane):
    instances = Instances(plane.context, lambda: ENTRANCE)
    made = []
    request = unit.Request("u", "r", "f", dry_run=True)
    await unit.Changes(plane.store, plane.notifier, plane.clock).run(
        request, instances.invite(OPERATOR), lambda done: made.append(done) or unit.Answer(201)
    )
    with pytest.raises(errors.UnauthenticatedError):
        await instances.enrol(made[0].token.partition(".")[0], "host-2")


async def test_only_operators_change_instances(plane):
    for attempt in (
        plane.instances.update(SIMPLE, "host-1", InstanceChanges(cordoned=True)),
        plane.instances.drain(SIMPLE, "host-1"),
        plane.instances.remove(SIMPLE, "host-1"),
        Instances(plane.context, lambda: ENTRANCE).invite(SIMPLE),
    ):
        with pytest.raises(errors.ForbiddenError):
            await attempt
    assert (await plane.instances.get(SIMPLE, "host-1")).services == 0


async def test_instances_are_listed_by_status(plane):
    await plane.join("host-2")
    await plane.instances.drain(OPERATOR, "host-2")
    assert [one.name for one in (await plane.instances.list(OPERATOR, status="draining")).items] == ["host-2"]
    assert [one.name for one in (await plane.instances.list(OPERATOR, status="online")).items] == ["host-1"]
    page = await plane.instances.list(OPERATOR, limit=1)
    assert len((await plane.instances.list(OPERATOR, page.next_cursor, 1)).items) == 1
    with pytest.raises(errors.InvalidError):
        await plane.instances.list(OPERATOR, status="asleep")


async def test_services_are_listed_by_status_and_by_instance(plane):
    await deploy(plane, "one")
    await plane.join("host-2")
    await deploy(plane, "two", instance="host-2")
    await plane.services.stop(OPERATOR, "one")

    async def names(**filters):
        return [one.name for one in (await plane.services.list(OPERATOR, **filters)).items]

    assert await names(status="stopped") == ["one"]
    assert await names(status="starting") == ["two"]
    assert await names(instance_id="host-2") == ["two"]
    assert await names(instance_id="host-1", status="starting") == []
    for bad in ({"status": "asleep"}, {"instance_id": "host-9"}):
        with pytest.raises(errors.InvalidError):
            await names(**bad)


async def test_a_deployment_stays_where_it_is(plane):
    await plane.join("host-2")
    await deploy(plane, "app", instance="host-1")
    same = DeploymentChanges(instance="host-1", placement={})
    assert not (await plane.deployments.update(OPERATOR, "app", same))[1]
    with pytest.raises(errors.InvalidError) as caught:
        await plane.deployments.update(
            OPERATOR, "app", DeploymentChanges(instance="host-2", placement={"disk": "ssd"}, branch="-x")
        )
    assert [one["field"] for one in caught.value.details["errors"]] == ["branch", "instance", "placement.labels"]


async def test_faults_of_the_project_of_the_place_and_of_the_fields_come_together(plane):
    with pytest.raises(errors.InvalidError) as caught:
        await plane.deployments.create(
            OPERATOR, builders.some_fields(project="none", instance="nowhere", port=0, replicas=9)
        )
    fields = {one["field"] for one in caught.value.details["errors"]}
    assert fields == {"project", "instance", "port", "replicas"}


async def test_what_a_host_does_not_enforce_is_a_warning(plane):
    view = await plane.deployments.create(OPERATOR, builders.some_fields(resources={"memory": "1G"}))
    assert view.warnings == ("instance host-1 does not enforce memory",)
