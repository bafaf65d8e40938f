"""Projects and members: who may do what to whom, names, and how a project goes with what is in it."""

import dataclasses

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.fakes.notifier import RecordingNotifier
from control_plane.fakes.store import MemoryStore
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deployments import Deployments
from control_plane.services.desired import DesiredState
from control_plane.services.instances import Instances
from control_plane.services.members import Members
from control_plane.services.projects import Projects
from control_plane.services.status import Status
from tests import builders
from tests.builders import OPERATOR

PEOPLE = ("ada", "bob", "eve", "zoe")


@pytest.fixture
async def context():
    made = Context(MemoryStore(), RecordingNotifier(), builders.StillClock(), builders.CountingIds())
    await ensure_defaults(made)
    async with made.store.write() as tx:
        for name in PEOPLE:
            await tx.insert_user(builders.a_user(id=f"usr_{name}", email=f"{name}@example.com", operator=False))
    return made


@pytest.fixture
def projects(context):
    return Projects(context)


@pytest.fixture
def members(context):
    return Members(context)


async def acting(context, name):
    async with context.store.read() as tx:
        return values.Principal(f"usr_{name}", f"{name}@example.com", roles=await tx.roles_of(f"usr_{name}"))


@pytest.fixture
async def shop(context, projects):
    """A project that ada owns."""
    return await projects.create(await acting(context, "ada"), "shop", "what we sell")


async def test_who_creates_a_project_owns_it_and_nobody_else_sees_it(context, projects, members, shop):
    ada, bob = await acting(context, "ada"), await acting(context, "bob")
    assert (await projects.list(ada)).items == (shop,)
    assert (await projects.list(bob)).items == ()
    assert [one.name for one in (await projects.list(OPERATOR)).items] == ["default", "shop"]
    assert await projects.get(ada, "shop") == await projects.get(ada, shop.id) == shop
    assert [(one.email, one.role) for one in (await members.list(ada, "shop")).items] == [("ada@example.com", "owner")]
    with pytest.raises(errors.NotFoundError):
        await projects.get(bob, "shop")


async def test_a_name_is_given_once_and_another_one_s_project_is_not_shown(context, projects, shop):
    for name, seen in (("ada", True), ("bob", False)):
        with pytest.raises(errors.ConflictError) as caught:
            await projects.create(await acting(context, name), "shop")
        assert ("id" in caught.value.details) == seen


async def test_all_problems_of_a_project_are_told_together(projects):
    with pytest.raises(errors.InvalidError) as caught:
        await projects.create(OPERATOR, "No Name", "x" * 10_000)
    assert [one["field"] for one in caught.value.details["errors"]] == ["name", "description"]


async def test_a_project_is_renamed_unless_the_name_is_taken(context, projects, shop):
    ada = await acting(context, "ada")
    renamed = await projects.update(ada, "shop", name="store")
    assert (renamed.name, renamed.description, renamed.generation) == ("store", "what we sell", 2)
    assert await projects.update(ada, "store", description="what we sell") == renamed
    with pytest.raises(errors.ConflictError):
        await projects.update(ada, "store", name="default")
    with pytest.raises(errors.ConflictError, match="cannot rename project 'default'"):
        await projects.update(OPERATOR, "default", name="other")
    assert [one.action for one in context.store.audit] == ["project.created", "project.updated"]
    assert context.store.audit[-1].data == {"before": {"name": "shop"}, "after": {"name": "store"}}


async def test_an_empty_project_goes_at_once_and_default_never(context, projects, shop):
    assert await projects.delete(await acting(context, "ada"), "shop") is None
    with pytest.raises(errors.NotFoundError):
        await projects.get(OPERATOR, shop.id)
    with pytest.raises(errors.ConflictError, match="every installation has it"):
        await projects.delete(OPERATOR, "default", force=True)


class Deployed:
    """Two deployments in the project, on an instance that can confirm."""

    def __init__(self, context):
        self.context, self.deployments = context, Deployments(context)

    async def make(self):
        instances = Instances(self.context)
        self.host = await instances.enrol(await instances.mint_join_token(None), "host-1")
        self.epoch = await instances.connected(self.host.id, "0.1.0", "boot", {"memory_bytes": 1 << 30})
        for name in ("one", "two"):
            await self.deployments.create(OPERATOR, builders.some_fields(name=name, project="shop"))
        return self

    async def confirm(self, number):
        """The agent says that the next `number` tombstones are obeyed."""
        wishes = await DesiredState(self.context).newer_than(self.host.id, {})
        for wish in wishes[:number]:
            gone = builders.a_report(wish.generation, service_id=wish.service_id, removed=True)
            await Status(self.context).record(self.host.id, self.epoch, gone)


async def test_a_project_with_deployments_goes_by_force_when_the_last_is_gone(context, projects, shop):
    deployed = await Deployed(context).make()
    ada = await acting(context, "ada")
    with pytest.raises(errors.ConflictError, match="one, two"):
        await projects.delete(ada, "shop")
    marked = await projects.delete(ada, "shop", force=True)
    assert marked.deleting
    assert await projects.delete(ada, "shop") == marked
    assert {view.status for view in (await deployed.deployments.list(ada)).items} == {"deleting"}
    await deployed.confirm(1)
    assert (await projects.get(ada, "shop")).deleting
    await deployed.confirm(1)
    with pytest.raises(errors.NotFoundError):
        await projects.get(OPERATOR, "shop")
    async with context.store.read() as tx:
        assert await tx.roles_of("usr_ada") == {}
        happened = [one.type for one in await tx.list_events({shop.id}, values.EventQuery(), 0, 99)]
    assert happened.count("deployment.deleted") == 2
    assert [one.action for one in context.store.audit][-3:] == [
        "deployment.removed",
        "deployment.removed",
        "project.removed",
    ]


async def test_a_project_that_is_being_deleted_takes_nothing_new(context, projects, shop):
    deployed = await Deployed(context).make()
    await projects.delete(OPERATOR, "shop", force=True)
    with pytest.raises(errors.ConflictError, match="being deleted"):
        await deployed.deployments.create(OPERATOR, builders.some_fields(name="three", project="shop"))
    with pytest.raises(errors.ConflictError, match="being deleted"):
        await projects.update(OPERATOR, "shop", name="store")
    assert len((await deployed.deployments.list(OPERATOR, project="shop")).items) == 2


async def test_a_role_is_given_by_id_or_email_and_counts_for_the_next_request(context, projects, members, shop):
    ada = await acting(context, "ada")
    made = await members.put(ada, "shop", "BOB@example.com", "viewer")
    assert (made[0].id, made[0].role, made[1]) == ("usr_bob", "viewer", True)
    assert (await projects.list(await acting(context, "bob"))).items == (shop,)
    changed, is_new = await members.put(ada, "shop", "usr_bob", "admin")
    assert (changed.role, changed.created_at, is_new) == ("admin", made[0].created_at, False)
    await members.remove(ada, "shop", "usr_bob")
    assert (await projects.list(await acting(context, "bob"))).items == ()
    assert [one.action for one in context.store.audit[-3:]] == ["member.added", "member.changed", "member.removed"]


async def test_an_admin_manages_members_but_no_owners(context, members, shop):
    ada = await acting(context, "ada")
    for name, role in (("bob", "admin"), ("eve", "owner")):
        await members.put(ada, "shop", f"usr_{name}", role)
    bob = await acting(context, "bob")
    await members.put(bob, "shop", "usr_zoe", "developer")
    await members.remove(bob, "shop", "usr_zoe")
    await members.put(bob, "shop", "usr_eve", "owner")  # as it is
    for refused in (
        members.put(bob, "shop", "usr_zoe", "owner"),
        members.put(bob, "shop", "usr_bob", "owner"),
        members.put(bob, "shop", "usr_eve", "viewer"),
        members.remove(bob, "shop", "usr_eve"),
    ):
        with pytest.raises(errors.ForbiddenError):
            await refused
    for name in ("developer", "viewer"):
        await members.put(ada, "shop", "usr_bob", name)
        with pytest.raises(errors.ForbiddenError):
            await members.put(await acting(context, "bob"), "shop", "usr_zoe", "viewer")


async def test_the_last_owner_stays_whoever_asks(context, members, shop):
    for principal in (await acting(context, "ada"), OPERATOR):
        for refused in (
            members.put(principal, "shop", "usr_ada", "admin"),
            members.remove(principal, "shop", "usr_ada"),
        ):
            with pytest.raises(errors.ConflictError, match="last owner"):
                await refused
    await members.put(OPERATOR, "shop", "usr_bob", "owner")
    await members.remove(await acting(context, "ada"), "shop", "usr_ada")
    assert [one.id for one in (await members.list(OPERATOR, "shop")).items] == ["usr_bob"]


async def test_members_that_do_not_exist_are_not_found_and_roles_are_checked(context, members, shop):
    ada = await acting(context, "ada")
    with pytest.raises(errors.NotFoundError):
        await members.put(ada, "shop", "nobody@example.com", "viewer")
    for user in ("nobody@example.com", "usr_bob"):
        with pytest.raises(errors.NotFoundError, match="among the members"):
            await members.remove(ada, "shop", user)
    with pytest.raises(errors.InvalidError):
        await members.put(ada, "shop", "usr_bob", "king")


async def test_members_come_in_pages(context, members, shop):
    ada = await acting(context, "ada")
    for name in PEOPLE[1:]:
        context.clock.advance(1)
        await members.put(ada, "shop", f"usr_{name}", "viewer")
    first = await members.list(ada, "shop", limit=3)
    last = await members.list(ada, "shop", first.next_cursor, 3)
    assert [one.id for one in (*first.items, *last.items)] == [f"usr_{name}" for name in PEOPLE]
    assert last.next_cursor is None


async def test_a_token_for_one_project_sees_and_makes_no_other(context, projects, shop):
    narrow = dataclasses.replace(OPERATOR, only=shop.id)
    assert (await projects.list(narrow)).items == (shop,)
    with pytest.raises(errors.ForbiddenError):
        await projects.create(narrow, "more")
    with pytest.raises(errors.NotFoundError):
        await projects.get(narrow, "default")
