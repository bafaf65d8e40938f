"""The use cases over the store in memory: deployments, services, routes, wishes and reports."""

import asyncio
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.domain import release, values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.fakes.notifier import RecordingNotifier
from control_plane.fakes.store import MemoryStore
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deployments import Deployments
from control_plane.services.desired import DesiredState
from control_plane.services.instances import Instances
from control_plane.services.routes import RouteChanges, RouteFields, Routes
from control_plane.services.services import Services
from control_plane.services.status import Status
from tests import builders
from tests.builders import OPERATOR


@dataclasses.dataclass
class Plane:
    """A control plane without its edges, with one instance that is online."""

    context: Context
    store: MemoryStore
    notifier: RecordingNotifier
    clock: builders.StillClock
    instance: values.Instance | None = None
    epoch: int = 0

    def __post_init__(self):
        self.deployments = Deployments(self.context)
        self.services = Services(self.context)
        self.routes = Routes(self.context)
        self.instances = Instances(self.context)
        self.desired = DesiredState(self.context)
        self.status = Status(self.context)

    async def join(self, hostname="host-1"):
        self.instance = await self.instances.enrol(await self.instances.mint_join_token(None), hostname)
        self.epoch = await self.instances.connected(self.instance.id, "0.1.0", "boot", {"memory_bytes": 1 << 30})

    async def report(self, service, generation=None, state="live", number=1, live=1, **changes):
        fields = {
            "service_id": service.id,
            "observed": values.Observed(generation or service.generation, "running", "healthy", live, ""),
            "releases": (values.ReleaseReport(number, state, "", "", "a" * 40, 0.0),),
            **changes,
        }
        report = builders.a_report(**fields)
        await self.status.record(self.instance.id, self.epoch, report)

    async def actions(self):
        return [row.action for row in self.store.audit]


def a_plane():
    store, notifier, clock = MemoryStore(), RecordingNotifier(), builders.StillClock()
    return Plane(Context(store, notifier, clock, builders.CountingIds()), store, notifier, clock)


@pytest.fixture
async def plane():
    made = a_plane()
    await ensure_defaults(made.context)
    await made.join()
    return made


reports = st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from(release.State))


@given(st.lists(reports, max_size=12))
def test_reports_in_any_order_and_number_never_lead_back(said):
    async def run():
        plane = a_plane()
        await ensure_defaults(plane.context)
        await plane.join()
        await plane.deployments.create(OPERATOR, builders.some_fields())
        for version in ("22", "24"):
            await plane.deployments.update(OPERATOR, "app", DeploymentChanges(version=version))
        service = await plane.services.get(OPERATOR, "app")
        for generation, number, state in said:
            before = (await plane.deployments.releases(OPERATOR, "app")).items
            seen = (await plane.services.get(OPERATOR, "app")).observed.generation
            for _ in range(2):
                await plane.report(service, generation=generation, number=number, state=state.value)
            after = (await plane.deployments.releases(OPERATOR, "app")).items
            assert (await plane.services.get(OPERATOR, "app")).observed.generation == max(seen, generation)
            for old, new in zip(before, after, strict=True):
                moved = release.State(new.state) in release.AHEAD[release.State(old.state)]
                assert moved or new.state == old.state
                assert new == old or generation >= seen

    asyncio.run(run())


@pytest.fixture
async def app(plane):
    return await plane.deployments.create(OPERATOR, builders.some_fields())


async def test_a_new_deployment_is_pending_with_release_one_and_a_wish(plane):
    view = await plane.deployments.create(OPERATOR, builders.some_fields())
    assert (view.status, view.project, view.live_release, view.urls) == ("pending", "default", None, ())
    (wish,) = await plane.desired.newer_than(plane.instance.id, {})
    assert (wish.service_id, wish.generation, wish.run) == (view.deployment.service_id, 1, values.Run.RUNNING)
    assert wish.release.number == 1
    assert wish.release.config == view.deployment.config
    assert plane.notifier.told[-1] == plane.instance.id
    assert "deployment.created" in await plane.actions()


async def test_defaults_are_made_once(plane):
    await ensure_defaults(plane.context)
    async with plane.store.read() as tx:
        assert [project.name for project in await tx.list_projects(None, None, None, 9)] == ["default"]


async def test_without_any_instance_a_deployment_is_unavailable_and_nothing_is_left():
    plane = a_plane()
    await ensure_defaults(plane.context)
    with pytest.raises(errors.UnavailableError, match="join one"):
        await plane.deployments.create(OPERATOR, builders.some_fields())
    assert (await plane.deployments.list(OPERATOR)).items == ()


async def test_an_instance_that_is_away_still_takes_a_deployment(plane):
    await plane.instances.disconnected(plane.instance.id, plane.epoch)
    await plane.deployments.create(OPERATOR, builders.some_fields())
    assert len(await plane.desired.newer_than(plane.instance.id, {})) == 1


async def test_a_deployment_says_that_it_waits_for_its_instance(plane, app):
    assert (await plane.deployments.get(OPERATOR, "app")).status_reason == ""
    plane.clock.advance(41)
    view = await plane.deployments.get(OPERATOR, "app")
    assert (view.status, view.status_reason) == ("pending", "waits for instance host-1, which is not connected")


async def test_a_taken_name_is_a_conflict_that_names_the_other(plane, app):
    with pytest.raises(errors.ConflictError) as caught:
        await plane.deployments.create(OPERATOR, builders.some_fields(runtime="python", version="3.11"))
    assert caught.value.details == {
        "id": app.deployment.id,
        "hint": f"change it with PUT /v1/deployments/{app.deployment.id}",
    }
    assert len((await plane.services.list(OPERATOR)).items) == 1


async def test_fifty_creations_of_one_name_make_one(plane):
    tries = (plane.deployments.create(OPERATOR, builders.some_fields()) for _ in range(50))
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, values.DeploymentView) for one in done) == 1
    assert sum(isinstance(one, errors.ConflictError) for one in done) == 49


async def test_an_unknown_project_is_a_bad_field(plane):
    with pytest.raises(errors.InvalidError) as caught:
        await plane.deployments.create(OPERATOR, builders.some_fields(project="other"))
    assert caught.value.details["field"] == "project"


def calls_on(plane, principal):
    return {
        "read": [
            plane.deployments.get(principal, "app"),
            plane.deployments.releases(principal, "app"),
            plane.deployments.release(principal, "app", 1),
            plane.services.get(principal, "app"),
        ],
        "write": [
            plane.deployments.update(principal, "app", DeploymentChanges(version="22")),
            plane.deployments.delete(principal, "app"),
            plane.deployments.redeploy(principal, "app"),
            plane.services.start(principal, "app"),
            plane.services.stop(principal, "app"),
            plane.services.restart(principal, "app"),
        ],
        "installation": [plane.instances.metrics(principal, "host-1"), plane.instances.mint_join_token(principal)],
    }


async def test_what_belongs_to_another_project_does_not_exist(plane, app):
    nobody = builders.NOBODY
    calls = calls_on(plane, nobody)
    for refused in await asyncio.gather(*calls["read"], *calls["write"], return_exceptions=True):
        assert isinstance(refused, errors.NotFoundError)
    for refused in await asyncio.gather(*calls["installation"], return_exceptions=True):
        assert isinstance(refused, errors.ForbiddenError)
    for shown in await asyncio.gather(
        plane.deployments.list(nobody), plane.services.list(nobody), plane.routes.list(nobody)
    ):
        assert shown.items == ()
    with pytest.raises(errors.InvalidError):
        await plane.deployments.create(nobody, builders.some_fields(name="other"))


async def test_a_viewer_reads_and_changes_nothing(plane, app):
    viewer = values.Principal("usr_v", "v@example.com", roles={app.deployment.project_id: "viewer"})
    calls = calls_on(plane, viewer)
    await asyncio.gather(*calls["read"])
    for refused in await asyncio.gather(*calls["write"], *calls["installation"], return_exceptions=True):
        assert isinstance(refused, errors.ForbiddenError)
    with pytest.raises(errors.ForbiddenError):
        await plane.deployments.create(viewer, builders.some_fields(name="other"))
    assert [row.action for row in plane.store.audit].count("deployment.updated") == 0


async def test_what_does_not_exist_is_not_found(plane):
    calls = [
        plane.deployments.get(OPERATOR, "none"),
        plane.deployments.update(OPERATOR, "none", DeploymentChanges()),
        plane.deployments.delete(OPERATOR, "none"),
        plane.deployments.release(OPERATOR, "none", 1),
        plane.services.get(OPERATOR, "none"),
        plane.services.start(OPERATOR, "none"),
        plane.routes.get(OPERATOR, "none"),
        plane.routes.delete(OPERATOR, "none"),
        plane.instances.get(OPERATOR, "none"),
    ]
    for refused in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(refused, errors.NotFoundError)


async def test_a_change_makes_the_next_release_and_raises_the_generation(plane, app):
    view, changed = await plane.deployments.update(OPERATOR, "app", DeploymentChanges(version="22"))
    assert (changed, view.deployment.release, view.deployment.config.version) == (True, 2, "22")
    (wish,) = await plane.desired.newer_than(plane.instance.id, {app.deployment.service_id: 1})
    assert (wish.generation, wish.release.number) == (2, 2)
    first = await plane.deployments.release(OPERATOR, "app", 1)
    assert first.state == "superseded"
    assert first.config.version == "20"
    assert [one.number for one in (await plane.deployments.releases(OPERATOR, "app")).items] == [2, 1]


async def test_no_change_writes_nothing(plane, app):
    rows, told = len(plane.store.audit), len(plane.notifier.told)
    view, changed = await plane.deployments.update(OPERATOR, "app", DeploymentChanges(version="20", project="default"))
    assert not changed
    assert view == app
    assert (len(plane.store.audit), len(plane.notifier.told)) == (rows, told)
    assert await plane.desired.newer_than(plane.instance.id, {app.deployment.service_id: 1}) == ()


async def test_a_bad_change_leaves_everything_as_it_was(plane, app):
    with pytest.raises(errors.InvalidError):
        await plane.deployments.update(OPERATOR, "app", DeploymentChanges(port=0))
    assert await plane.deployments.get(OPERATOR, "app") == app


async def test_a_live_release_is_not_superseded_by_the_next(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"))
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(version="22"))
    assert (await plane.deployments.release(OPERATOR, "app", 1)).state == "live"


async def test_a_report_makes_the_deployment_running(plane, app):
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(service)
    view = await plane.deployments.get(OPERATOR, "app")
    assert (view.status, view.live_release, view.commit) == ("running", 1, "a" * 40)
    seen = await plane.services.get(OPERATOR, "app")
    assert (seen.observed.status, seen.observed.health) == ("running", "healthy")


async def test_a_failed_release_beside_a_live_one_fails_the_deployment_and_not_the_service(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"))
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(version="22"))
    service = await plane.services.get(OPERATOR, "app")
    failed = values.ReleaseReport(2, "failed", "build_failed", "npm said no", "b" * 40, 0.0)
    await plane.report(service, live=1, releases=(failed,))
    view = await plane.deployments.get(OPERATOR, "app")
    assert (view.status, view.status_reason, view.live_release) == ("failed", "npm said no", 1)
    assert (await plane.services.get(OPERATOR, "app")).observed.status == "running"


async def test_a_late_report_changes_nothing(plane, app):
    service = await plane.services.get(OPERATOR, "app")
    await plane.services.restart(OPERATOR, "app")
    await plane.report(service, generation=2)
    before = await plane.services.get(OPERATOR, "app")
    old = values.Observed(1, "failed", "unhealthy", 0, "old")
    await plane.report(service, observed=old, releases=())
    assert await plane.services.get(OPERATOR, "app") == before


async def test_a_report_of_a_fenced_session_changes_nothing(plane, app):
    service = await plane.services.get(OPERATOR, "app")
    await plane.instances.connected(plane.instance.id, "0.1.0", "boot", {})
    await plane.report(service)
    assert (await plane.deployments.get(OPERATOR, "app")).status == "pending"


async def test_a_report_of_a_foreign_service_is_forbidden_and_of_an_unknown_one_ignored(plane, app):
    service = await plane.services.get(OPERATOR, "app")
    first = plane.instance
    await plane.join("host-2")
    with pytest.raises(errors.ForbiddenError):
        await plane.report(service)
    with pytest.raises(errors.ForbiddenError):
        await plane.desired.acknowledged(plane.instance.id, service.id, 1)
    await plane.report(dataclasses.replace(service, id="svc_none"))
    await plane.desired.acknowledged(plane.instance.id, "svc_none", 1)
    assert await plane.desired.newer_than(plane.instance.id, {}) == ()
    assert len(await plane.desired.newer_than(first.id, {})) == 1


async def test_an_agent_that_names_a_service_by_its_name_is_not_believed(plane, app):
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(dataclasses.replace(service, id="app"))
    await plane.desired.acknowledged(plane.instance.id, "app", 1)
    assert await plane.services.get(OPERATOR, "app") == service


async def test_an_unknown_release_state_moves_nothing(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"), state="teleporting")
    assert (await plane.deployments.release(OPERATOR, "app", 1)).state == "pending"


async def test_acknowledging_never_runs_ahead_or_back(plane, app):
    service_id = app.deployment.service_id
    for said, kept in ((99, 1), (0, 1)):
        await plane.desired.acknowledged(plane.instance.id, service_id, said)
        assert (await plane.services.get(OPERATOR, "app")).acknowledged == kept


async def test_stop_and_start_are_wishes_that_may_be_repeated(plane, app):
    stopped = await plane.services.stop(OPERATOR, "app")
    assert (stopped.run, stopped.generation) == (values.Run.STOPPED, 2)
    assert await plane.services.stop(OPERATOR, app.deployment.service_id) == stopped
    assert (await plane.deployments.get(OPERATOR, "app")).status == "stopped"
    started = await plane.services.start(OPERATOR, "app")
    assert (started.run, started.generation) == (values.Run.RUNNING, 3)
    assert (await plane.services.start(OPERATOR, "app")).generation == 3


async def test_every_restart_is_a_new_wish_and_starts_what_was_stopped(plane, app):
    await plane.services.stop(OPERATOR, "app")
    once = await plane.services.restart(OPERATOR, "app")
    twice = await plane.services.restart(OPERATOR, "app")
    assert (once.run, once.restart, twice.restart, twice.generation) == (values.Run.RUNNING, 1, 2, 4)


async def test_starting_what_failed_and_does_not_serve_is_another_release(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"), state="failed", live=0)
    started = await plane.services.start(OPERATOR, "app")
    assert started.generation == 2
    view = await plane.deployments.get(OPERATOR, "app")
    assert (view.status, view.deployment.release) == ("pending", 2)
    assert (await plane.deployments.release(OPERATOR, "app", 1)).state == "failed"
    assert (await plane.services.start(OPERATOR, "app")).generation == 2


async def test_restarting_beside_a_failed_release_restarts_the_live_one(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"))
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(version="22"))
    await plane.report(await plane.services.get(OPERATOR, "app"), state="failed", number=2, live=1)
    assert (await plane.services.restart(OPERATOR, "app")).restart == 1
    assert (await plane.deployments.get(OPERATOR, "app")).deployment.release == 2


async def test_a_deleted_deployment_goes_when_the_agent_says_so(plane, app):
    await plane.routes.create(OPERATOR, RouteFields("app.example.com", "app"))
    view = await plane.deployments.delete(OPERATOR, "app")
    assert (view.status, view.urls) == ("deleting", ())
    (wish,) = await plane.desired.newer_than(plane.instance.id, {app.deployment.service_id: 2})
    assert (wish.run, wish.generation, wish.routes) == (values.Run.REMOVED, 3, ())
    assert (await plane.deployments.release(OPERATOR, "app", 1)).state == "cancelled"
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(service, generation=2, removed=True)
    assert (await plane.deployments.get(OPERATOR, "app")).status == "deleting"
    await plane.report(service, generation=3, removed=True)
    with pytest.raises(errors.NotFoundError):
        await plane.deployments.get(OPERATOR, "app")
    await plane.report(service, generation=3, removed=True)
    assert (await plane.deployments.create(OPERATOR, builders.some_fields())).status == "pending"


async def test_a_confirmation_that_nobody_asked_for_removes_nothing(plane, app):
    await plane.report(await plane.services.get(OPERATOR, "app"), removed=True)
    assert (await plane.deployments.get(OPERATOR, "app")).deployment == app.deployment


async def test_what_is_being_deleted_can_be_deleted_again_and_nothing_else(plane, app):
    once = await plane.deployments.delete(OPERATOR, "app")
    assert await plane.deployments.delete(OPERATOR, "app") == once
    calls = [
        plane.services.start(OPERATOR, "app"),
        plane.services.stop(OPERATOR, "app"),
        plane.services.restart(OPERATOR, "app"),
        plane.deployments.update(OPERATOR, "app", DeploymentChanges(version="22")),
        plane.routes.create(OPERATOR, RouteFields("a.example.com", "app")),
        plane.deployments.create(OPERATOR, builders.some_fields()),
    ]
    for refused in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(refused, errors.ConflictError)


async def test_a_route_gives_the_deployment_an_address_and_the_agent_a_wish(plane, app):
    route = await plane.routes.create(OPERATOR, RouteFields("App.Example.com.", "app", 3000, "/api/"))
    assert (route.domain, route.path, route.status) == ("app.example.com", "/api", "pending")
    assert (await plane.deployments.get(OPERATOR, "app")).urls == ("http://app.example.com:8081/api",)
    (wish,) = await plane.desired.newer_than(plane.instance.id, {app.deployment.service_id: 1})
    assert (wish.generation, wish.routes) == (2, (route,))
    await plane.routes.delete(OPERATOR, route.id)
    (wish,) = await plane.desired.newer_than(plane.instance.id, {app.deployment.service_id: 2})
    assert (wish.generation, wish.routes) == (3, ())
    with pytest.raises(errors.NotFoundError):
        await plane.routes.get(OPERATOR, route.id)


async def test_a_taken_domain_is_a_conflict_and_no_new_wish(plane, app):
    await plane.routes.create(OPERATOR, RouteFields("app.example.com", "app"))
    with pytest.raises(errors.ConflictError):
        await plane.routes.create(OPERATOR, RouteFields("APP.example.com", "app"))
    assert (await plane.services.get(OPERATOR, "app")).generation == 2


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("port", {"port": 3001}),
        ("service_id", {"service": "none"}),
        ("domain", {"domain": "a;b"}),
        ("path", {"path": "a"}),
    ],
)
async def test_a_bad_route_names_its_field(plane, app, field, call):
    with pytest.raises(errors.InvalidError) as caught:
        await plane.routes.create(
            OPERATOR, RouteFields(**{"domain": "a.example.com", "service": "app", "port": 3000, **call})
        )
    assert caught.value.details["field"] == field
    assert (await plane.routes.list(OPERATOR)).items == ()


async def test_a_route_becomes_what_the_agent_says(plane, app):
    route = await plane.routes.create(OPERATOR, RouteFields("app.example.com", "app"))
    service = await plane.services.get(OPERATOR, "app")
    said = (values.RouteReport(route.id, "quarantined", "nginx: no"), values.RouteReport("rte_none", "active", ""))
    await plane.report(service, routes=said)
    assert await plane.routes.get(OPERATOR, route.id) == dataclasses.replace(
        route, status="quarantined", message="nginx: no"
    )


async def test_a_route_is_active_only_when_the_agent_serves_it_as_it_is_now(plane, app):
    route = await plane.routes.create(OPERATOR, RouteFields("app.example.com", "app"))
    said = (values.RouteReport(route.id, "active", ""),)
    before = await plane.services.get(OPERATOR, "app")
    await plane.routes.update(OPERATOR, route.id, RouteChanges(path="/api"))
    await plane.report(before, routes=said)
    assert (await plane.routes.get(OPERATOR, route.id)).status == "pending"
    await plane.report(await plane.services.get(OPERATOR, "app"), routes=said)
    assert (await plane.routes.get(OPERATOR, route.id)).status == "active"


async def test_routes_follow_a_changed_port(plane, app):
    route = await plane.routes.create(OPERATOR, RouteFields("app.example.com", "app", 3000))
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(port=4000))
    assert (await plane.routes.get(OPERATOR, route.id)).port == 4000


async def test_lists_filter_and_go_on_page_by_page(plane):
    for number in range(5):
        plane.clock.advance(1)
        await plane.deployments.create(OPERATOR, builders.some_fields(name=f"app-{number}"))
    await plane.services.stop(OPERATOR, "app-1")
    await plane.services.stop(OPERATOR, "app-3")
    first = await plane.deployments.list(OPERATOR, limit=2)
    second = await plane.deployments.list(OPERATOR, cursor=first.next_cursor, limit=2)
    third = await plane.deployments.list(OPERATOR, cursor=second.next_cursor, limit=2)
    names = [[view.deployment.name for view in page.items] for page in (first, second, third)]
    assert names == [["app-0", "app-1"], ["app-2", "app-3"], ["app-4"]]
    assert third.next_cursor is None
    stopped = await plane.deployments.list(OPERATOR, status="stopped", limit=1)
    assert [view.deployment.name for view in stopped.items] == ["app-1"]
    rest = await plane.deployments.list(OPERATOR, status="stopped", limit=1, cursor=stopped.next_cursor)
    assert [view.deployment.name for view in rest.items] == ["app-3"]
    assert rest.next_cursor is None
    assert len((await plane.deployments.list(OPERATOR, project="default", name="app-2")).items) == 1
    page = await plane.services.list(OPERATOR, limit=4)
    assert len((await plane.services.list(OPERATOR, cursor=page.next_cursor)).items) == 1


@pytest.mark.parametrize(
    ("field", "query"), [("status", {"status": "odd"}), ("limit", {"limit": 0}), ("cursor", {"cursor": "%"})]
)
async def test_a_bad_query_names_its_field(plane, field, query):
    with pytest.raises(errors.InvalidError) as caught:
        await plane.deployments.list(OPERATOR, **query)
    assert caught.value.details["field"] == field


async def test_file_remotes_are_taken_only_where_the_operator_allows(plane):
    fields = builders.some_fields(remote="file:///srv/git/app.git")
    with pytest.raises(errors.InvalidError):
        await plane.deployments.create(OPERATOR, fields)
    allowing = Deployments(dataclasses.replace(plane.context, allow_file_remotes=True))
    assert (await allowing.create(OPERATOR, fields)).deployment.config.remote == fields.remote
