"""Releases beyond a new declaration, over the store in memory: again, back, given up, uploaded, overdue, patched."""

import asyncio
import dataclasses
import io

import pytest

from control_plane import errors
from control_plane.domain import release, values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.fakes.archive_files import MemoryArchiveFiles
from control_plane.services import unit
from control_plane.services.archives import Archives
from control_plane.services.deployments import Deployments
from control_plane.services.env import Env
from control_plane.services.reaper import Reaper
from control_plane.services.routes import RouteFields
from control_plane.services.services import ServiceChanges
from control_plane.services.status import Status
from tests import builders
from tests.builders import OPERATOR
from tests.unit.test_services_life import a_plane, ensure_defaults

ARCHIVE = "a" * 64
CAPABILITIES = {"replicas": "3", "processes": "any", "process_replicas": "9", "detects": "run_cmd"}
LOCAL = {"capabilities": {"sources": "remote,local", **CAPABILITIES}}


@pytest.fixture
async def plane():
    made = a_plane()
    await ensure_defaults(made.context)
    await made.join()
    made.epoch = await made.instances.connected(made.instance.id, "0.1.0", "boot", LOCAL)
    return made


@pytest.fixture
async def app(plane):
    return await plane.deployments.create(OPERATOR, builders.some_fields())


async def newest(plane, name="app"):
    return (await plane.deployments.releases(OPERATOR, name, limit=1)).items[0]


async def wish(plane):
    (found,) = await plane.desired.newer_than(plane.instance.id, {})
    return found


async def events(plane):
    async with plane.store.read() as tx:
        return [event.type for event in await tx.list_events(None, values.EventQuery(), 0, 100)]


async def go_live(plane, number, live=None):
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(service, number=number, live=live or number)


async def declare(plane, **changes):
    return await plane.deployments.update(OPERATOR, "app", DeploymentChanges(**changes))


async def test_a_redeploy_of_a_commit_is_of_that_commit_and_pins_nothing(plane, app):
    view = await plane.deployments.redeploy(OPERATOR, "app", "ABCDEF1")
    made = await newest(plane)
    assert (made.number, made.commit, made.cause) == (2, "abcdef1", "redeploy")
    assert view.deployment.config.commit == ""
    assert (await wish(plane)).release.commit == "abcdef1"
    with pytest.raises(errors.InvalidError) as caught:
        await plane.deployments.redeploy(OPERATOR, "app", "main")
    assert caught.value.details["field"] == "commit"


async def test_a_rollback_goes_to_the_last_good_release_without_a_build(plane, app):
    await go_live(plane, 1)
    await declare(plane, env={"A": "2"}, port=4000, description="new")
    await go_live(plane, 2)
    await plane.report(await plane.services.get(OPERATOR, "app"), number=1, state="retired", live=2)
    view = await plane.deployments.rollback(OPERATOR, "app")
    made = await newest(plane)
    assert (made.number, made.build_of, made.cause, made.commit) == (3, 1, "rollback", "a" * 40)
    assert (made.config.port, made.config.env) == (3000, ())
    assert view.deployment.config == made.config
    assert view.deployment.config.description == "new"
    assert "deployment.rolled_back" in await events(plane)
    assert "deployment.rolled_back" in await plane.actions()


async def test_a_rollback_of_a_rollback_uses_the_first_build(plane, app):
    await go_live(plane, 1)
    await declare(plane, version="22")
    await go_live(plane, 2)
    await plane.deployments.rollback(OPERATOR, "app", 1)
    await go_live(plane, 3)
    await declare(plane, version="24")
    await go_live(plane, 4)
    await plane.deployments.rollback(OPERATOR, "app", 3)
    assert (await newest(plane)).build_of == 1


async def test_a_rollback_shows_a_token_to_its_own_server_alone(plane, app):
    """Who may roll back, and once declared a server of theirs, must not learn the token that came later."""
    here, elsewhere = app.deployment.config.remote, "https://thief.example.test/a"
    await declare(plane, remote=elsewhere)
    await go_live(plane, 2)
    await declare(plane, remote=here, git_token="first")
    await go_live(plane, 3)
    await declare(plane, git_token="second")
    await go_live(plane, 4)
    for number, remote, token in ((3, here, "second"), (2, elsewhere, ""), (3, here, "first")):
        await plane.deployments.rollback(OPERATOR, "app", number)
        made = await newest(plane)
        assert (made.config.remote, made.config.git_token) == (remote, token)
        await go_live(plane, made.number)


async def test_there_is_nothing_to_roll_back_to_before_something_was_live(plane, app):
    with pytest.raises(errors.ConflictError, match="ever live"):
        await plane.deployments.rollback(OPERATOR, "app")
    await go_live(plane, 1)
    with pytest.raises(errors.ConflictError, match="no release before 1"):
        await plane.deployments.rollback(OPERATOR, "app")
    with pytest.raises(errors.ConflictError, match="is live already"):
        await plane.deployments.rollback(OPERATOR, "app", 1)
    await declare(plane, version="22")
    with pytest.raises(errors.ConflictError, match="never live, it is pending"):
        await plane.deployments.rollback(OPERATOR, "app", 2)
    with pytest.raises(errors.NotFoundError):
        await plane.deployments.rollback(OPERATOR, "app", 9)


async def test_a_pinned_release_and_the_build_that_it_uses_stay_on_the_instance(plane, app):
    await go_live(plane, 1)
    await declare(plane, version="22")
    await go_live(plane, 2)
    await plane.deployments.rollback(OPERATOR, "app", 1)
    await go_live(plane, 3)
    before = await wish(plane)
    assert (await plane.deployments.pin(OPERATOR, "app", 3, pinned=True)).pinned
    after = await wish(plane)
    assert (before.pinned, after.pinned) == ((), (1, 3))
    assert (after.generation, after.release.number) == (before.generation + 1, 3)
    await plane.deployments.pin(OPERATOR, "app", 3, pinned=True)
    assert (await wish(plane)).generation == after.generation, "nothing changed"
    await plane.deployments.pin(OPERATOR, "app", 3, pinned=False)
    assert (await wish(plane)).pinned == ()
    assert {"release.pinned", "release.unpinned"} <= set(await plane.actions())


async def test_only_so_many_releases_that_were_live_are_pinned(plane, app):
    with pytest.raises(errors.ConflictError, match="cannot pin release 1 of 'app': it was never live"):
        await plane.deployments.pin(OPERATOR, "app", 1, pinned=True)
    for number in range(1, release.MAX_PINNED + 2):
        await go_live(plane, number)
        await declare(plane, env={"N": str(number)})
    for number in range(1, release.MAX_PINNED + 1):
        await plane.deployments.pin(OPERATOR, "app", number, pinned=True)
    with pytest.raises(errors.ConflictError, match="10 are; unpin one first"):
        await plane.deployments.pin(OPERATOR, "app", release.MAX_PINNED + 1, pinned=True)


async def test_routes_follow_the_port_of_a_rollback(plane, app):
    await go_live(plane, 1)
    route = await plane.routes.create(OPERATOR, RouteFields("app.example.com", "app"))
    await declare(plane, port=4000)
    await go_live(plane, 2)
    await plane.deployments.rollback(OPERATOR, "app", 1)
    assert (await plane.routes.get(OPERATOR, route.id)).port == 3000


async def test_a_cancelled_release_ends_at_once_and_its_instance_is_told(plane, app):
    before = await wish(plane)
    view = await plane.deployments.cancel(OPERATOR, "app")
    assert view.status == "cancelled"
    assert view.status_reason == f"cancelled by {OPERATOR.email}"
    after = await wish(plane)
    assert after.generation > before.generation
    assert (before.cancelled, after.cancelled) == (False, True)
    assert plane.notifier.told[-1] == plane.instance.id
    assert (await events(plane)).count("deployment.cancelled") == 1


async def test_cancelling_twice_is_the_same_as_once(plane, app):
    first = await plane.deployments.cancel(OPERATOR, "app")
    second = await plane.deployments.cancel(OPERATOR, "app")
    assert second == first
    assert (await plane.actions()).count("deployment.cancelled") == 1


async def test_late_reports_of_a_cancelled_release_change_nothing(plane, app):
    await plane.deployments.cancel(OPERATOR, "app")
    for state in ("building", "live", "failed", "cancelled"):
        await plane.report(await plane.services.get(OPERATOR, "app"), state=state, live=0)
    assert (await newest(plane)).state == "cancelled"
    assert (await events(plane)).count("deployment.cancelled") == 1


async def test_the_wish_is_no_longer_cancelled_once_there_is_a_newer_release(plane, app):
    await plane.deployments.cancel(OPERATOR, "app")
    await plane.deployments.redeploy(OPERATOR, "app")
    assert not (await wish(plane)).cancelled


async def test_what_is_live_or_over_is_not_cancelled(plane, app):
    await go_live(plane, 1)
    with pytest.raises(errors.ConflictError, match="roll back instead"):
        await plane.deployments.cancel(OPERATOR, "app")
    await declare(plane, version="22")
    await plane.report(await plane.services.get(OPERATOR, "app"), number=2, state="failed", live=1)
    with pytest.raises(errors.ConflictError, match="ended already: failed"):
        await plane.deployments.cancel(OPERATOR, "app")


async def local(plane):
    fields = builders.some_fields(name="app", source="local", remote="")
    return await plane.deployments.create(OPERATOR, fields)


async def test_a_local_deployment_waits_for_its_source_and_is_sent_to_nobody(plane):
    view = await local(plane)
    assert view.status == "pending"
    assert f"POST /v1/deployments/{view.deployment.id}/source" in view.status_reason
    assert await plane.desired.newer_than(plane.instance.id, {}) == ()


async def test_the_uploaded_source_is_that_of_the_release_that_waits(plane):
    await local(plane)
    view = await plane.deployments.upload(OPERATOR, "app", ARCHIVE)
    assert (view.deployment.release, view.status_reason) == (1, "")
    assert (await wish(plane)).release.archive == ARCHIVE


async def test_another_upload_is_another_release_and_others_use_the_last_one(plane):
    await local(plane)
    await plane.deployments.upload(OPERATOR, "app", ARCHIVE)
    await plane.deployments.upload(OPERATOR, "app", "b" * 64)
    made = await newest(plane)
    assert (made.number, made.cause, made.archive) == (2, "upload", "b" * 64)
    await plane.deployments.redeploy(OPERATOR, "app")
    assert (await newest(plane)).archive == "b" * 64
    with pytest.raises(errors.InvalidError):
        await plane.deployments.redeploy(OPERATOR, "app", "abcdef1")


async def test_a_deployment_that_becomes_local_keeps_serving_while_it_waits(plane, app):
    await go_live(plane, 1)
    await declare(plane, source="local")
    await plane.services.restart(OPERATOR, "app")
    found = await wish(plane)
    assert (found.release.number, found.restart, found.cancelled) == (1, 1, False)


async def test_a_local_deployment_that_was_never_sent_can_be_deleted(plane):
    await local(plane)
    await plane.deployments.delete(OPERATOR, "app")
    assert (await wish(plane)).run is values.Run.REMOVED


async def test_a_deployment_of_a_repository_takes_no_upload(plane, app):
    for attempt in (
        plane.deployments.upload(OPERATOR, "app", ARCHIVE),
        plane.deployments.expect_source(OPERATOR, "app"),
    ):
        with pytest.raises(errors.ConflictError, match="of a repository"):
            await attempt


async def test_polling_is_switched_without_a_release(plane, app):
    assert (await wish(plane)).poll_s == 300
    view, changed = await declare(plane, poll=False)
    assert (changed, view.deployment.release, view.deployment.poll) == (True, 1, False)
    assert (await wish(plane)).poll_s == 0
    assert not (await declare(plane, poll=False))[1]


async def test_a_description_and_labels_change_without_a_release(plane, app):
    view, changed = await declare(plane, description="the shop", labels={"team": "web"})
    assert (changed, view.deployment.release, view.deployment.generation) == (True, 1, 2)
    assert not view.pending_changes


async def test_what_waits_for_the_next_release_shows_as_pending(plane, app):
    async with plane.store.write() as tx:
        found = await tx.find_deployment("app")
        await tx.update_deployment(dataclasses.replace(found, config=dataclasses.replace(found.config, replicas=2)))
    assert (await plane.deployments.get(OPERATOR, "app")).pending_changes


async def test_an_older_commit_that_was_asked_for_is_not_overtaken_by_the_branch(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"), branch_head="a" * 40)
    await plane.deployments.redeploy(OPERATOR, "app", "b" * 40)
    said = (values.ReleaseReport(2, "live", "", "", "b" * 40, 0.0),)
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(service, releases=said, live=2, branch_head="a" * 40)
    assert (await newest(plane)).number == 2
    await plane.report(service, releases=said, live=2, branch_head="c" * 40)
    assert ((await newest(plane)).number, (await newest(plane)).cause) == (3, "poll")


async def test_a_service_is_patched_on_the_build_of_its_good_release(plane, app):
    await go_live(plane, 1)
    shown, changed = await plane.services.patch(
        OPERATOR, "app", ServiceChanges(replicas=3, health_check={"path": "/up"})
    )
    made = await newest(plane)
    assert changed
    assert (made.number, made.build_of, made.cause, made.commit) == (2, 1, "patch", "a" * 40)
    assert (made.config.replicas, made.config.health_check.path) == (3, "/up")
    assert shown.generation > 1
    assert not (await plane.services.patch(OPERATOR, "app", ServiceChanges(replicas=3)))[1]
    with pytest.raises(errors.InvalidError) as caught:
        await plane.services.patch(OPERATOR, "app", ServiceChanges(replicas=4))
    assert caught.value.details["field"] == "replicas"


async def test_processes_are_scaled_on_the_build_that_knows_them(plane, app):
    row = values.Decided("processes.worker", "work", "detected", "Procfile")
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(service, releases=(values.ReleaseReport(1, "live", "", "", "a" * 40, 0.0, (row,)),))
    with pytest.raises(errors.InvalidError) as caught:
        await plane.services.patch(OPERATOR, "app", ServiceChanges(process_replicas={"wrker": 5}))
    assert caught.value.details["field"] == "process_replicas.wrker"
    await plane.services.patch(OPERATOR, "app", ServiceChanges(process_replicas={"worker": 5}))
    made = await newest(plane)
    assert (made.number, made.build_of, made.config.process_replicas) == (2, 1, (("worker", 5),))
    assert (await wish(plane)).release.config.process_replicas == (("worker", 5),)


async def test_a_patch_before_anything_was_built_builds(plane, app):
    await plane.services.patch(OPERATOR, "app", ServiceChanges(replicas=2))
    assert (await newest(plane)).build_of == 0
    await plane.deployments.delete(OPERATOR, "app")
    with pytest.raises(errors.ConflictError, match="being deleted"):
        await plane.services.patch(OPERATOR, "app", ServiceChanges(replicas=1))


async def keep_online(plane):
    await plane.instances.heartbeat(plane.instance.id, plane.epoch)


async def test_a_release_that_takes_too_long_fails_and_its_instance_is_told(plane, app):
    reaper = Reaper(plane.context, under_way_s=60.0)
    assert await reaper.reap() == 0
    plane.clock.advance(61)
    await keep_online(plane)
    assert await reaper.reap() == 1
    view = await plane.deployments.get(OPERATOR, "app")
    assert (view.status, view.status_reason) == ("failed", "gave up: it was pending for too long")
    assert (await newest(plane)).reason == release.OVERDUE
    assert (await wish(plane)).cancelled
    assert "deployment.failed" in await events(plane)
    assert "deployment.overdue" in await plane.actions()
    assert await reaper.reap() == 0


async def test_two_replicas_that_give_up_the_same_release_tell_of_it_once(plane, app):
    reapers = [Reaper(plane.context, under_way_s=60.0) for _ in range(2)]
    for reaper in reapers:
        await reaper.reap()
    plane.clock.advance(61)
    await keep_online(plane)
    async with plane.store.write():  # both have looked when the first may write
        both = [asyncio.create_task(reaper.reap()) for reaper in reapers]
        for _ in range(20):  # turns of the loop, no time
            await asyncio.sleep(0)
    assert await asyncio.gather(*both) == [1, 1]
    assert (await events(plane)).count("deployment.failed") == 1


async def test_each_state_of_a_release_has_its_own_time(plane, app):
    reaper = Reaper(plane.context, under_way_s=60.0)
    for state in ("fetching", "building", "starting"):
        await plane.report(await plane.services.get(OPERATOR, "app"), state=state, live=0)
        await reaper.reap()
        plane.clock.advance(50)
        await keep_online(plane)
        assert await reaper.reap() == 0


async def test_a_canary_has_its_whole_trial_besides_while_it_is_switched_to(plane):
    canary = {"kind": "canary", "weight": 10, "steps": [50], "interval": 100}
    plane.epoch = await plane.instances.connected(
        plane.instance.id, "0.1.0", "boot", {"capabilities": {**LOCAL["capabilities"], "strategies": "rolling,canary"}}
    )
    await plane.deployments.create(OPERATOR, builders.some_fields(strategy=canary))
    reaper = Reaper(plane.context, under_way_s=60.0)
    for state, enough in (("checking", 59), ("switching", 259)):
        await plane.report(await plane.services.get(OPERATOR, "app"), state=state, live=0)
        await reaper.reap()
        plane.clock.advance(enough)
        await keep_online(plane)
        assert await reaper.reap() == 0
    plane.clock.advance(2)
    await keep_online(plane)
    assert await reaper.reap() == 1


async def test_a_release_waits_long_for_an_instance_that_is_away_and_begins_anew_when_it_is_back(plane, app):
    reaper = Reaper(plane.context, under_way_s=60.0, waiting_s=1000.0)
    await reaper.reap()
    plane.clock.advance(500)
    assert await reaper.reap() == 0
    plane.epoch = await plane.instances.connected(plane.instance.id, "0.1.0", "boot", LOCAL)
    assert await reaper.reap() == 0
    await plane.instances.disconnected(plane.instance.id, plane.epoch)
    plane.clock.advance(501)
    assert await reaper.reap() == 1


async def test_a_source_that_never_comes_and_a_stopped_service(plane):
    await local(plane)
    reaper = Reaper(plane.context, under_way_s=60.0, waiting_s=1000.0)
    plane.clock.advance(999)
    await keep_online(plane)
    assert await reaper.reap() == 0
    await plane.services.stop(OPERATOR, "app")
    plane.clock.advance(99)
    assert await reaper.reap() == 0
    await plane.services.start(OPERATOR, "app")
    assert await reaper.reap() == 1


async def test_releases_are_paged_newest_first(plane, app):
    for _ in range(4):
        await plane.deployments.redeploy(OPERATOR, "app")
    first = await plane.deployments.releases(OPERATOR, "app", limit=2)
    second = await plane.deployments.releases(OPERATOR, "app", first.next_cursor, 2)
    third = await plane.deployments.releases(OPERATOR, "app", second.next_cursor, 2)
    assert [[one.number for one in page.items] for page in (first, second, third)] == [[5, 4], [3, 2], [1]]
    assert third.next_cursor is None
    other = (
        await plane.deployments.list(OPERATOR, limit=1)
    ).next_cursor or "MjAyNi0wMS0wMVQwMDowMDowMCswMDowMHxkZXBfMQ"
    with pytest.raises(errors.InvalidError):
        await plane.deployments.releases(OPERATOR, "app", other)


async def test_the_difference_of_two_releases_keeps_secrets(plane, app):
    await declare(plane, version="22", secrets={"KEY": "hush"}, env={"B": "1"})
    old, new, changes = await plane.deployments.difference(OPERATOR, "app", 1, 2)
    assert (old.number, new.number) == (1, 2)
    assert {"field": "version", "from": "20", "to": "22"} in changes
    assert {"field": "env.KEY", "from": None, "to": "********"} in changes
    assert "hush" not in str(changes)


async def test_a_stale_generation_stops_every_change(plane, app):
    request = unit.Request("u", "r", "f", if_match=frozenset({99}))
    changes = unit.Changes(plane.store, plane.notifier, plane.clock)
    deployments = Deployments(plane.context)
    for work in (
        lambda: deployments.redeploy(OPERATOR, "app"),
        lambda: deployments.rollback(OPERATOR, "app"),
        lambda: deployments.cancel(OPERATOR, "app"),
        lambda: plane.services.patch(OPERATOR, "app", ServiceChanges(replicas=2)),
        lambda: plane.instances.drain(OPERATOR, "host-1"),
        lambda: plane.instances.remove(OPERATOR, "host-1"),
    ):
        with pytest.raises(errors.PreconditionFailedError):
            await changes.run(request, work(), lambda _: unit.Answer(200))
    assert (await newest(plane)).number == 1


async def test_a_report_of_what_was_overdue_changes_nothing(plane, app):
    reaper = Reaper(plane.context, under_way_s=1.0)
    await reaper.reap()
    plane.clock.advance(2)
    await reaper.reap()
    await Status(plane.context).record(
        plane.instance.id, plane.epoch, builders.a_report(5, service_id=app.deployment.service_id)
    )
    assert (await newest(plane)).state == "failed"


async def test_the_history_of_variables_knows_what_a_declaration_and_a_rollback_changed(plane):
    await plane.deployments.create(OPERATOR, builders.some_fields(env={"A": "1"}, secrets={"S": "x"}))
    await go_live(plane, 1)
    await declare(plane, env={"A": None, "B": "2"})
    await go_live(plane, 2)
    await plane.deployments.rollback(OPERATOR, "app", 1)
    lines = (await Env(plane.context).history(OPERATOR, "app")).items
    told = [(line.release, line.key, line.action, line.secret) for line in lines]
    assert sorted(told) == [
        (1, "A", "set", False),
        (1, "S", "set", True),
        (2, "A", "deleted", False),
        (2, "B", "set", False),
        (3, "A", "set", False),
        (3, "B", "deleted", False),
    ]


async def test_the_sources_of_a_project_have_a_bound_together(plane):
    files = MemoryArchiveFiles()
    deployments = Deployments(plane.context, Archives(plane.context, files, project_bytes=100))
    await deployments.create(OPERATOR, builders.some_fields(source="local", remote=""))
    small, large = (files.keep(io.BytesIO(b"PK\x03\x04" + bytes(size))) for size in (50, 51))
    assert (await deployments.upload(OPERATOR, "app", small)).deployment.release == 1
    with pytest.raises(errors.ConflictError, match="may have 100") as caught:
        await deployments.upload(OPERATOR, "app", large)
    assert caught.value.details["bytes"] == 109
    assert (await newest(plane)).archive == small
    assert (await deployments.upload(OPERATOR, "app", small)).deployment.release == 2


async def test_a_rollback_to_a_release_whose_source_is_gone_is_refused(plane, app):
    await declare(plane, source="local", remote="")
    for number in range(2, 3 + release.KEPT_SOURCES):
        await plane.deployments.upload(OPERATOR, "app", f"{number:064x}")
        await go_live(plane, number)
    await plane.report(await plane.services.get(OPERATOR, "app"), number=2, state="retired", live=number)
    with pytest.raises(errors.ConflictError, match="source of release 2 is not kept"):
        await plane.deployments.rollback(OPERATOR, "app", 2)
    await plane.report(await plane.services.get(OPERATOR, "app"), number=3, state="retired", live=number)
    assert (await plane.deployments.rollback(OPERATOR, "app", 3)).deployment.release == number + 1


async def crash_loops(plane, number, behind=0):
    service = await plane.services.get(OPERATOR, "app")
    observed = values.Observed(service.generation - behind, "crash_looping", "unhealthy", number, "")
    await plane.report(service, number=number, observed=observed)


async def test_a_release_that_keeps_crashing_soon_after_it_went_live_is_gone_back_from_once(plane):
    await plane.deployments.create(OPERATOR, builders.some_fields(auto_rollback=True))
    await go_live(plane, 1)
    await plane.deployments.redeploy(OPERATOR, "app")
    await go_live(plane, 2)
    await crash_loops(plane, 2)
    assert ((await newest(plane)).number, (await newest(plane)).cause, (await newest(plane)).build_of) == (
        3,
        "rollback",
        1,
    )
    assert "deployment.rolled_back" in await events(plane)
    await go_live(plane, 3)
    await crash_loops(plane, 3)
    assert (await newest(plane)).number == 3


async def test_the_history_of_variables_knows_who_went_back_by_itself(plane):
    await plane.deployments.create(OPERATOR, builders.some_fields(auto_rollback=True))
    await go_live(plane, 1)
    await declare(plane, env={"A": "1"})
    await go_live(plane, 2)
    await crash_loops(plane, 2)
    lines = (await Env(plane.context).history(OPERATOR, "app")).items
    told = [(line.release, line.key, line.action, line.actor) for line in lines if line.release == 3]
    assert told == [(3, "A", "deleted", "system")]


async def test_nobody_goes_back_for_what_was_so_before_the_newest_wish(plane):
    await plane.deployments.create(OPERATOR, builders.some_fields(auto_rollback=True))
    await go_live(plane, 1)
    await plane.deployments.redeploy(OPERATOR, "app")
    await go_live(plane, 2)
    await plane.services.restart(OPERATOR, "app")
    await crash_loops(plane, 2, behind=1)
    assert (await newest(plane)).number == 2
    await crash_loops(plane, 2)
    assert (await newest(plane)).number == 3


async def test_nobody_goes_back_unasked_nor_from_what_ran_well_for_long_nor_from_a_first_release(plane, app):
    await go_live(plane, 1)
    await crash_loops(plane, 1)
    await declare(plane, auto_rollback=True)
    await go_live(plane, 2)
    plane.clock.advance(601)
    await crash_loops(plane, 2)
    assert (await newest(plane)).number == 2
