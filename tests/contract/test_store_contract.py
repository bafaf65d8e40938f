"""One suite over the store in memory and the one on SQLite."""

import asyncio
import dataclasses
import datetime

import pytest

from control_plane import store
from control_plane.domain import lease, paging, release, series, values
from control_plane.fakes.store import MemoryStore
from tests import builders


@pytest.fixture(params=["memory", "sqlite"])
async def opened(request, tmp_path):
    made = (
        MemoryStore()
        if request.param == "memory"
        else await store.open(tmp_path / "data" / "control-plane.db", builders.StillClock())
    )
    yield made
    await made.close()


async def fill(opened, number=1):
    """A deployment with its service, release and route, and what they stand on."""
    async with opened.write() as tx:
        await tx.insert_project(builders.a_project())
        await tx.insert_instance(builders.an_instance())
        ids = {"id": builders.an_id("dep", number), "service_id": builders.an_id("svc", number)}
        created = builders.START + datetime.timedelta(seconds=number)
        assert await tx.insert_deployment(builders.a_deployment(**ids, name=f"app-{number}", created_at=created))
        await tx.insert_service(
            builders.a_service(id=ids["service_id"], deployment_id=ids["id"], name=f"app-{number}", created_at=created)
        )
        await tx.insert_release(builders.a_release(id=builders.an_id("rel", number), deployment_id=ids["id"]))
        assert await tx.insert_route(
            builders.a_route(
                id=builders.an_id("rte", number), service_id=ids["service_id"], domain=f"app-{number}.example.com"
            )
        )


async def test_what_was_written_is_read_back_equal(opened):
    await fill(opened)
    observed = values.Observed(3, "running", "healthy", 1, "fine", (builders.a_process(),), builders.START)
    changed = builders.a_service(run=values.Run.STOPPED, generation=4, observed=observed, name="app-1")
    sample = values.Sample(builders.an_id("ins"), 12.5, {"cpu": {"user": 0.5}}, "# HELP\n")
    async with opened.write() as tx:
        await tx.update_service(changed)
        await tx.insert_user(builders.a_user())
        await tx.put_sample(values.Sample(builders.an_id("ins"), 1.0, {}, ""))
        await tx.put_sample(sample)
        await tx.put_setting("key", "old")
        await tx.put_setting("key", "new")
    async with opened.read() as tx:
        assert await tx.find_service(changed.id) == changed
        assert await tx.services_by_id([changed.id, "svc_none"]) == {changed.id: changed}
        assert await tx.find_instance("host-1") == builders.an_instance()
        assert await tx.find_project("default") == builders.a_project()
        assert await tx.list_projects(None, None, None, 9) == [builders.a_project()]
        assert await tx.get_release(builders.an_id("dep"), 1) == builders.a_release()
        assert (await tx.find_deployment("app-1")).config == builders.a_config()
        assert await tx.find_user("operator@example.com") == builders.a_user()
        assert await tx.get_user(builders.an_id("usr")) == builders.a_user()
        assert await tx.get_sample(builders.an_id("ins")) == sample
        assert await tx.get_setting("key") == "new"
        assert (await tx.get_route(builders.an_id("rte"))).domain == "app-1.example.com"
        assert await tx.count_services() == {builders.an_id("ins"): 1}
        assert await tx.count_users() == 1


async def test_what_is_not_there_is_none(opened):
    async with opened.read() as tx:
        assert await tx.find_deployment("x") is None
        assert await tx.find_service("x") is None
        assert await tx.find_instance("x") is None
        assert await tx.find_project("x") is None
        assert await tx.find_user("x") is None
        assert await tx.get_user("x") is None
        assert await tx.get_release("x", 1) is None
        assert await tx.get_route("x") is None
        assert await tx.get_sample("x") is None
        assert await tx.get_setting("x") is None
        assert await tx.newest_releases(["x"]) == {}
        assert await tx.newest_releases([]) == {}
        assert await tx.routes_of(["x"]) == {}
        assert await tx.count_services() == {}


async def test_every_update_replaces_the_row_of_its_id_alone(opened):
    await fill(opened, 1)
    await fill(opened, 2)
    async with opened.write() as tx:
        old = await tx.find_deployment("app-1")
        await tx.update_deployment(builders.a_deployment(name="app-1", release=7, created_at=old.created_at))
        decided = (values.Decided("runtime", "nodejs", "file", "dployr.yaml"),)
        await tx.update_release(builders.a_release(state="failed", message="why", decided=decided))
        await tx.update_route(builders.a_route(status="active", domain="app-1.example.com"))
        await tx.update_instance(builders.an_instance(epoch=9, facts={"cpus": 2}, last_seen=None))
        await tx.insert_user(builders.a_user())
        await tx.update_user(builders.a_user(disabled=True))
    async with opened.read() as tx:
        assert (await tx.find_deployment("app-1")).release == 7
        assert (await tx.find_deployment("app-2")).release == 1
        changed = await tx.get_release(builders.an_id("dep", 1), 1)
        assert (changed.message, changed.decided) == ("why", decided)
        assert (await tx.get_release(builders.an_id("dep", 2), 1)).state == "pending"
        assert (await tx.get_route(builders.an_id("rte", 1))).status == "active"
        assert (await tx.get_route(builders.an_id("rte", 2))).status == "pending"
        assert await tx.find_instance("host-1") == builders.an_instance(epoch=9, facts={"cpus": 2}, last_seen=None)
        assert (await tx.find_user("operator@example.com")).disabled


async def test_names_domains_and_emails_are_unique(opened):
    await fill(opened)
    async with opened.write() as tx:
        assert not await tx.insert_project(builders.a_project(id=builders.an_id("prj", 9)))
        assert not await tx.insert_instance(builders.an_instance(id=builders.an_id("ins", 9)))
        assert not await tx.insert_deployment(builders.a_deployment(id=builders.an_id("dep", 9), name="app-1"))
        same = builders.a_route(id=builders.an_id("rte", 9), domain="app-1.example.com")
        assert not await tx.insert_route(same)
        assert await tx.insert_route(
            builders.a_route(id=builders.an_id("rte", 9), domain="app-1.example.com", path="/b")
        )
        assert await tx.insert_user(builders.a_user())
        assert not await tx.insert_user(builders.a_user(id=builders.an_id("usr", 9)))
    async with opened.read() as tx:
        assert [route.path for route in await tx.list_routes(None, None, None, None, 10)] == ["/", "/b"]
        assert len(await tx.list_routes(None, None, None, None, 10, "pending")) == 2
        assert await tx.list_routes(None, None, None, None, 10, "active") == []


async def test_a_name_is_free_in_another_project(opened):
    await fill(opened)
    async with opened.write() as tx:
        await tx.insert_project(builders.a_project(id=builders.an_id("prj", 2), name="other"))
        twin = builders.a_deployment(id=builders.an_id("dep", 2), name="app-1", project_id=builders.an_id("prj", 2))
        assert await tx.insert_deployment(twin)
        assert (await tx.find_deployment("app-1", builders.an_id("prj", 2))).id == twin.id
        assert await tx.find_deployment(twin.id, builders.an_id("prj", 1)) is None


async def test_a_block_that_raises_leaves_nothing(opened):
    with pytest.raises(RuntimeError):
        async with opened.write() as tx:
            await tx.insert_project(builders.a_project())
            await tx.put_setting("key", "value")
            raise RuntimeError
    async with opened.read() as tx:
        assert await tx.find_project("default") is None
        assert await tx.get_setting("key") is None


async def test_a_block_that_is_cancelled_leaves_nothing_and_blocks_nobody(opened):
    inside = asyncio.Event()

    async def write_and_hang():
        async with opened.write() as tx:
            await tx.put_setting("key", "value")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write_and_hang())
    await inside.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with opened.write() as tx:
        assert await tx.get_setting("key") is None


async def test_callers_that_are_cancelled_at_any_moment_leave_a_store_that_works(opened):
    async def add_one():
        async with opened.write() as tx:
            await tx.put_setting("count", str(int(await tx.get_setting("count") or "0") + 1))
        async with opened.read() as tx:
            await tx.get_setting("count")

    for steps in range(1, 60, 3):
        task = asyncio.create_task(add_one())
        for _ in range(steps):
            await asyncio.sleep(0.0002)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    async with opened.read() as tx:
        before = int(await tx.get_setting("count") or "0")
    await asyncio.gather(*(add_one() for _ in range(5)))
    async with opened.read() as tx:
        assert await tx.get_setting("count") == str(before + 5)


async def test_a_reader_sees_the_state_at_its_beginning(opened):
    async with opened.read() as before:
        assert await before.get_setting("key") is None
        async with opened.write() as tx:
            await tx.put_setting("key", "value")
        assert await before.get_setting("key") is None
    async with opened.read() as after:
        assert await after.get_setting("key") == "value"


async def test_writers_at_once_lose_no_update(opened):
    async def add_one():
        async with opened.write() as tx:
            old = int(await tx.get_setting("count") or "0")
            await asyncio.sleep(0)
            await tx.put_setting("count", str(old + 1))

    await asyncio.gather(*(add_one() for _ in range(40)))
    async with opened.read() as tx:
        assert await tx.get_setting("count") == "40"


async def test_a_join_token_is_spent_exactly_once_by_fifty_at_once(opened):
    async with opened.write() as tx:
        await tx.insert_join_token("digest", 100.0)

    async def spend():
        async with opened.write() as tx:
            return await tx.spend_join_token("digest", 99.0)

    assert sum(await asyncio.gather(*(spend() for _ in range(50)))) == 1


async def test_an_expired_or_unknown_join_token_is_not_spent(opened):
    async with opened.write() as tx:
        await tx.insert_join_token("digest", 100.0)
        assert not await tx.spend_join_token("other", 99.0)
        assert not await tx.spend_join_token("digest", 100.0)


async def test_deleting_a_deployment_takes_everything_of_it_and_nothing_else(opened):
    await fill(opened, 1)
    await fill(opened, 2)
    async with opened.write() as tx:
        await tx.delete_deployment(builders.an_id("dep", 1))
    async with opened.read() as tx:
        assert await tx.find_deployment("app-1") is None
        assert await tx.find_service("app-1") is None
        assert await tx.list_releases(builders.an_id("dep", 1)) == []
        assert await tx.get_route(builders.an_id("rte", 1)) is None
        assert await tx.find_service("app-2") is not None
        assert list(await tx.newest_releases([builders.an_id("dep", 2)])) == [builders.an_id("dep", 2)]
        assert list(await tx.routes_of([builders.an_id("svc", 2)])) == [builders.an_id("svc", 2)]


async def test_the_newest_release_is_the_one_with_the_highest_number(opened):
    await fill(opened)
    async with opened.write() as tx:
        for number in (10, 9, 2):
            await tx.insert_release(builders.a_release(id=builders.an_id("rel", number), number=number))
    async with opened.read() as tx:
        newest = await tx.newest_releases([builders.an_id("dep")])
        assert newest[builders.an_id("dep")].number == 10
        assert [one.number for one in await tx.list_releases(builders.an_id("dep"))] == [1, 2, 9, 10]


async def test_pages_go_on_where_they_ended_although_rows_were_added(opened):
    for number in (1, 2, 4, 5):
        await fill(opened, number)
    async with opened.read() as tx:
        first = await tx.list_deployments(None, None, None, 2)
        assert [one.name for one in first] == ["app-1", "app-2"]
    await fill(opened, 3)
    after = paging.position(first[-1].created_at, first[-1].id)
    async with opened.read() as tx:
        assert [one.name for one in await tx.list_deployments(None, None, after, 9)] == ["app-3", "app-4", "app-5"]
        behind = paging.position(first[-1].created_at, first[-1].service_id)
        assert [one.name for one in await tx.list_services(None, None, behind, 9)] == ["app-3", "app-4", "app-5"]
        assert [one.name for one in await tx.list_deployments(None, "app-4", None, 9)] == ["app-4"]
        assert await tx.list_deployments({"prj_none"}, None, None, 9) == []
        assert len(await tx.list_routes({builders.an_id("prj")}, builders.an_id("svc", 3), None, None, 9)) == 1
        assert [one.name for one in await tx.list_services_of_instance(builders.an_id("ins"))][:2] == ["app-1", "app-2"]


async def test_rows_of_the_same_moment_are_ordered_by_id(opened):
    async with opened.write() as tx:
        for number in (3, 1, 2):
            await tx.insert_instance(builders.an_instance(id=builders.an_id("ins", number), name=f"h{number}"))
    async with opened.read() as tx:
        after = paging.position(builders.START, builders.an_id("ins", 1))
        assert [one.name for one in await tx.list_instances(after, 9)] == ["h2", "h3"]


async def test_releases_are_found_by_number_and_state(opened):
    await fill(opened)
    deployment = builders.an_id("dep")
    async with opened.write() as tx:
        for number, state in ((2, "live"), (3, "building")):
            await tx.insert_release(
                builders.a_release(
                    id=builders.an_id("rel", 10 + number), number=number, state=state, commit=f"{number}" * 40
                )
            )
    async with opened.read() as tx:
        assert [one.number for one in await tx.releases_below(deployment, None, 2)] == [3, 2]
        assert [one.number for one in await tx.releases_below(deployment, 2, 9)] == [1]
        assert sorted(one.number for one in await tx.unfinished_releases()) == [1, 3]


async def test_the_sources_of_the_newest_releases_are_in_use(opened):
    await fill(opened)
    newest = 1 + release.KEPT_SOURCES
    async with opened.write() as tx:
        first = await tx.get_release(builders.an_id("dep"), 1)
        await tx.update_release(dataclasses.replace(first, archive="a" * 64))
        found = await tx.find_deployment(builders.an_id("dep"))
        await tx.update_deployment(dataclasses.replace(found, release=newest - 1))
    async with opened.read() as tx:
        assert await tx.archives_in_use() == {"a" * 64}
        assert await tx.archives_in_use(found.project_id) == {"a" * 64}
        assert await tx.archives_in_use("prj_other") == frozenset()
    async with opened.write() as tx:
        await tx.insert_release(builders.a_release(id=builders.an_id("rel", 99), number=newest, archive="b" * 64))
        await tx.update_deployment(dataclasses.replace(found, release=newest))
    async with opened.read() as tx:
        assert await tx.archives_in_use() == {"b" * 64}


async def test_an_instance_that_is_drained_is_read_back_so(opened):
    drained = builders.an_instance(draining=True, cordoned=True, labels=(("disk", "ssd"),))
    async with opened.write() as tx:
        await tx.insert_instance(drained)
    async with opened.read() as tx:
        assert await tx.find_instance(drained.id) == drained


async def test_a_lease_changes_hands_only_from_the_state_that_was_seen(opened):
    fresh, mine = lease.Lease("work"), lease.Lease("work", "rep_1", 1)
    async with opened.write() as tx:
        assert await tx.get_lease("work") is None
        assert await tx.swap_lease(fresh, mine)
        assert not await tx.swap_lease(fresh, lease.Lease("work", "rep_2", 1))
        assert not await tx.swap_lease(lease.Lease("work", "rep_1", 2), lease.Lease("work", "rep_2", 3))
        assert await tx.swap_lease(lease.Lease("other"), lease.Lease("other", "rep_2", 1))
    async with opened.read() as tx:
        assert await tx.get_lease("work") == mine
    async with opened.write() as tx:
        assert await tx.swap_lease(mine, lease.Lease("work", "", 2))


async def test_points_lie_in_places_of_rings_and_go_with_their_instance(opened):
    one, other = builders.an_instance(), builders.an_instance(id=builders.an_id("ins", 2), name="host-2")
    points = {place: series.Point(place * 10.0, 1, {"load|1m": 0.5}) for place in range(4)}
    async with opened.write() as tx:
        for host in (one, other):
            await tx.insert_instance(host)
            for place in (3, 1, 0, 2):
                await tx.put_point(host.id, 10, place, points[place])
        await tx.put_point(one.id, 60, 0, points[0])
        newer = series.Point(40.0, 2, {})
        await tx.put_point(one.id, 10, 0, newer)
    async with opened.read() as tx:
        assert await tx.get_point(one.id, 10, 0) == newer
        assert await tx.get_point(other.id, 10, 0) == points[0]
        assert await tx.get_point(one.id, 10, 9) is None
        assert list(await tx.list_points(one.id, 10, 20.0, 41.0)) == [points[2], points[3], newer]
        assert list(await tx.list_points(one.id, 10, 20.0, 40.0)) == [points[2], points[3]]
    async with opened.write() as tx:
        await tx.delete_instance(one.id)
    async with opened.read() as tx:
        assert list(await tx.list_points(one.id, 10, 0.0, 99.0)) == []
        assert len(await tx.list_points(other.id, 10, 0.0, 99.0)) == 4


async def test_of_releases_the_newest_stay_with_those_that_serve_or_are_not_finished(opened):
    await fill(opened, 1)
    await fill_another(opened)
    states = {1: "live", 2: "retired", 3: "pending", 4: "failed", 5: "retired", 6: "superseded"}
    first, other = builders.an_id("dep", 1), builders.an_id("dep", 2)
    async with opened.write() as tx:
        for number, state in states.items():
            for deployment, offset in ((first, 100), (other, 200)):
                made = builders.a_release(
                    id=builders.an_id("rel", offset + number), deployment_id=deployment, number=10 + number, state=state
                )
                await tx.insert_release(made)
        await tx.update_deployment(builders.a_deployment(id=first, service_id=builders.an_id("svc", 1), release=16))
        await tx.drop_releases(2)
        assert [one.number for one in await tx.list_releases(first)] == [1, 11, 13, 15, 16]
        assert len(await tx.list_releases(other)) == 7


async def test_pinned_releases_stay_with_their_sources(opened):
    await fill(opened, 1)
    async with opened.write() as tx:
        found = await tx.find_deployment(builders.an_id("dep"))
        for number, build_of in ((2, 0), (3, 1), (4, 0)):
            made = builders.a_release(
                id=builders.an_id("rel", 100 + number),
                number=number,
                state="retired",
                build_of=build_of,
                archive=f"{number}" * 64,
                pinned=number < 4,
            )
            await tx.insert_release(made)
        await tx.update_deployment(dataclasses.replace(found, release=100))
        await tx.drop_releases(2)
        assert [one.number for one in await tx.list_releases(found.id) if one.number > 1] == [2, 3]
        assert await tx.pinned_releases([found.id, "dep_other"]) == {found.id: [(2, 0), (3, 1)]}
        assert await tx.archives_in_use() == {"2" * 64, "3" * 64}


async def test_of_changes_of_variables_the_newest_of_each_service_stay(opened):
    await fill(opened, 1)
    await fill_another(opened)
    services = [builders.an_id("svc", 1), builders.an_id("svc", 2)]
    async with opened.write() as tx:
        for number in range(4):
            for service in services:
                change = values.EnvChange(
                    service, builders.START, "usr_1", f"K{number}", "set", secret=False, release=1
                )
                await tx.append_env_change(change)
        await tx.drop_env_changes(3)
        for service in services:
            assert [one.key for one in await tx.list_env_changes(service, None, 9)] == ["K3", "K2", "K1"]


async def fill_another(opened):
    """A second deployment with its service and release, beside the first."""
    async with opened.write() as tx:
        ids = {"id": builders.an_id("dep", 2), "service_id": builders.an_id("svc", 2)}
        await tx.insert_deployment(builders.a_deployment(**ids, name="app-2"))
        await tx.insert_service(builders.a_service(id=ids["service_id"], deployment_id=ids["id"], name="app-2"))
        await tx.insert_release(builders.a_release(id=builders.an_id("rel", 2), deployment_id=ids["id"]))
