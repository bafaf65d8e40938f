"""Pushes and polls together: what is missed by one is found by the other, and nothing is deployed twice."""

import dataclasses

import pytest

from control_plane.domain import push, values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.hub import wire
from control_plane.services.hooks import Hooks
from tests import builders, pushes
from tests.builders import OPERATOR
from tests.unit.test_services_life import a_plane, ensure_defaults

FIRST, PUSHED = "a" * 40, pushes.AFTER


@pytest.fixture
async def plane():
    """Release 1 of FIRST is live."""
    made = a_plane()
    await ensure_defaults(made.context)
    await made.join()
    await made.deployments.create(OPERATOR, builders.some_fields())
    await look(made, "", 1, FIRST)
    return made


async def look(plane, head, number, commit, state="live"):
    """A report of release `number`, with what the agent saw of the branch last."""
    service = await plane.services.get(OPERATOR, "app")
    said = (values.ReleaseReport(number, state, "", "", commit, 0.0),)
    await plane.report(service, live=number, releases=said, branch_head=head)


async def pushed(plane, commit=PUSHED, delivery="d-1"):
    hooks = Hooks(plane.context)
    new = await hooks.create(OPERATOR, "app")
    _, _, token = new.url.rpartition("/")
    call = push.Call({"x-github-event": "push", "x-github-delivery": delivery}, b"")
    return await hooks.receive(new.deployment.id, token, call, pushes.github(after=commit))


async def newest(plane):
    return (await plane.deployments.releases(OPERATOR, "app")).items[0]


async def test_a_push_that_nobody_told_of_is_deployed_by_the_poll(plane):
    await look(plane, PUSHED, 1, FIRST)
    assert ((await newest(plane)).number, (await newest(plane)).cause) == (2, "poll")


async def test_a_push_that_the_hook_deployed_is_not_deployed_again_by_the_poll(plane):
    assert (await pushed(plane)).release == 2
    await look(plane, PUSHED, 2, PUSHED)
    assert (await newest(plane)).number == 2


async def test_a_look_from_before_the_push_does_not_deploy_anything(plane):
    await look(plane, FIRST, 1, FIRST)
    await pushed(plane)
    await look(plane, FIRST, 2, PUSHED, "building")
    await look(plane, FIRST, 2, PUSHED)
    assert (await newest(plane)).number == 2


async def test_a_push_after_the_poll_deployed_it_is_ignored(plane):
    await look(plane, PUSHED, 1, FIRST)
    await look(plane, PUSHED, 2, PUSHED)
    outcome = await pushed(plane)
    assert (outcome.release, outcome.reason) == (None, "release 2 is of this commit")


async def test_a_release_that_failed_is_tried_again_by_another_push_of_it(plane):
    await pushed(plane)
    await look(plane, "", 2, PUSHED, "failed")
    assert (await pushed(plane, delivery="d-2")).release == 3


async def test_a_rollback_stays_until_something_new_is_pushed(plane):
    """The head of the branch was deployed already; somebody went back from it on purpose."""
    await pushed(plane)
    await look(plane, PUSHED, 2, PUSHED)
    await pushed(plane, FIRST, "d-2")
    await look(plane, PUSHED, 3, FIRST)
    assert (await newest(plane)).number == 3
    await look(plane, "c" * 40, 3, FIRST)
    assert (await newest(plane)).number == 4


async def test_nothing_is_polled_when_it_is_off_pinned_or_stopped(plane):
    async with plane.store.write() as tx:
        found = await tx.find_deployment("app")
        await tx.update_deployment(dataclasses.replace(found, poll=False))
    await look(plane, PUSHED, 1, FIRST)
    async with plane.store.write() as tx:
        await tx.update_deployment(found)
    await plane.services.stop(OPERATOR, "app")
    await look(plane, PUSHED, 1, FIRST)
    assert (await newest(plane)).number == 1
    await plane.services.start(OPERATOR, "app")
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(commit="abcdef1"))
    await look(plane, PUSHED, 2, "abcdef1" + "0" * 33)
    assert (await newest(plane)).number == 2


async def sent_poll_s(plane):
    """How often the agent shall look, as it stands on the wire."""
    (wish,) = await plane.desired.newer_than(plane.instance.id, {})
    return wire.desired(wish).desired.poll_s


async def test_the_agent_is_told_to_look_every_five_minutes(plane):
    assert await sent_poll_s(plane) == 300


async def test_the_agent_is_told_not_to_look_when_nothing_could_follow(plane):
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(poll=False))
    assert await sent_poll_s(plane) == 0
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(poll=True))
    assert await sent_poll_s(plane) == 300
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(commit="abcdef1"))
    assert await sent_poll_s(plane) == 0


async def test_a_change_of_the_poll_reaches_the_agent(plane):
    (before,) = await plane.desired.newer_than(plane.instance.id, {})
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(poll=False))
    (after,) = await plane.desired.newer_than(plane.instance.id, {before.service_id: before.generation})
    assert (before.poll_s, after.poll_s) == (300, 0)
