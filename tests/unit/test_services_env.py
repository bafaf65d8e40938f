"""The use cases of variables over the store in memory."""

import dataclasses

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.domain.deployment import DeploymentChanges
from control_plane.domain.variables import Wanted
from control_plane.services.env import Env
from control_plane.services.unit import Changes, Request
from tests import builders
from tests.builders import OPERATOR
from tests.unit.test_services_life import a_plane, ensure_defaults


@pytest.fixture
async def plane():
    made = a_plane()
    await ensure_defaults(made.context)
    await made.join()
    await made.deployments.create(OPERATOR, builders.some_fields(env={"A": "1"}))
    return made


@pytest.fixture
def env(plane):
    return Env(plane.context)


async def live(plane, number=1):
    service = await plane.services.get(OPERATOR, "app")
    await plane.report(service, number=number, live=number)


async def newest(plane):
    return (await plane.deployments.releases(OPERATOR, "app")).items[0]


async def keys(env):
    page, _ = await env.list(OPERATOR, "app")
    return [(one.key, one.value, one.secret) for one in page.items]


async def test_a_change_makes_a_release_of_the_build_that_is_there(plane, env):
    await live(plane)
    variable, among, is_new = await env.set(OPERATOR, "app", Wanted("B", "2"))
    assert (variable, is_new) == (values.Variable("B", "2"), True)
    made = await newest(plane)
    assert (made.number, made.build_of, made.commit, made.cause) == (2, 1, "a" * 40, "env")
    assert made.config.env == (values.Variable("A", "1"), values.Variable("B", "2"))
    assert among.generation == (await plane.services.get(OPERATOR, "app")).generation == 2
    assert plane.notifier.told[-1] == plane.instance.id


async def test_before_anything_was_built_the_next_release_builds(plane, env):
    await env.set(OPERATOR, "app", Wanted("B", "2"))
    made = await newest(plane)
    assert (made.number, made.build_of) == (2, 0)
    assert (await plane.deployments.release(OPERATOR, "app", 1)).state == "superseded"


async def test_the_same_value_makes_no_release(plane, env):
    rows = len(plane.store.audit)
    _, among, is_new = await env.set(OPERATOR, "app", Wanted("A", "1"))
    assert (is_new, among.generation) == (False, 1)
    assert (await newest(plane)).number == 1
    assert len(plane.store.audit) == rows
    assert [line.release for line in (await env.history(OPERATOR, "app")).items] == [1]  # as it was declared


async def test_a_change_for_later_is_in_the_next_release_whatever_makes_it(plane, env):
    await live(plane)
    _, among, _ = await env.set(OPERATOR, "app", Wanted("B", "2"), "next")
    assert (await newest(plane)).number == 1
    assert among.generation == 2
    await plane.deployments.redeploy(OPERATOR, "app")
    assert (await newest(plane)).config.env[-1] == values.Variable("B", "2")


async def test_what_waits_is_rolled_out_by_the_same_change_now(plane, env):
    await live(plane)
    await env.set(OPERATOR, "app", Wanted("B", "2"), "next")
    await env.set(OPERATOR, "app", Wanted("B", "2"), "now")
    made = await newest(plane)
    assert (made.number, made.build_of) == (2, 1)
    await env.set(OPERATOR, "app", Wanted("B", "2"), "now")
    assert (await newest(plane)).number == 2


async def test_unset_takes_a_variable_away_once(plane, env):
    await env.unset(OPERATOR, "app", "A")
    assert await keys(env) == []
    with pytest.raises(errors.NotFoundError, match="'A'"):
        await env.unset(OPERATOR, "app", "A")


async def test_replace_is_all_or_nothing(plane, env):
    with pytest.raises(errors.InvalidError):
        await env.replace(OPERATOR, "app", [Wanted("B", "2"), Wanted("PATH", "/")])
    assert await keys(env) == [("A", "1", False)]
    await env.replace(OPERATOR, "app", [Wanted("B", "2"), Wanted("S", "hidden", secret=True)])
    assert await keys(env) == [("B", "2", False), ("S", "hidden", True)]


async def test_the_history_tells_who_and_which_and_never_what(plane, env):
    await env.set(OPERATOR, "app", Wanted("S", "hidden", secret=True))
    await env.set(OPERATOR, "app", Wanted("A", "2"), "next")
    await env.unset(OPERATOR, "app", "S")
    lines = (await env.history(OPERATOR, "app")).items
    assert [(one.key, one.action, one.secret, one.release) for one in lines] == [
        ("S", "deleted", True, 3), ("A", "set", False, 3), ("S", "set", True, 2), ("A", "set", False, 1),
    ]  # fmt: skip
    assert {one.actor for one in lines} == {OPERATOR.user_id}
    assert "hidden" not in repr(lines) + repr(plane.store.audit)


async def test_the_history_has_pages_and_can_be_asked_for_one_key(plane, env):
    for number in range(5):
        await env.set(OPERATOR, "app", Wanted("A" if number % 2 else "B", f"v{number}"), "next")
    first = await env.history(OPERATOR, "app", limit=2)
    second = await env.history(OPERATOR, "app", cursor=first.next_cursor, limit=2)
    third = await env.history(OPERATOR, "app", cursor=second.next_cursor, limit=2)
    assert [one.key for page in (first, second, third) for one in page.items] == ["B", "A", "B", "A", "B", "A"]
    assert third.next_cursor is None
    assert [one.key for one in (await env.history(OPERATOR, "app", key="A")).items] == ["A", "A", "A"]
    with pytest.raises(errors.InvalidError):
        await env.history(OPERATOR, "app", cursor="eA")


async def test_the_list_has_pages_by_key(plane, env):
    await env.replace(OPERATOR, "app", [Wanted(key, key) for key in "DBAC"])
    first, _ = await env.list(OPERATOR, "app", limit=3)
    second, _ = await env.list(OPERATOR, "app", cursor=first.next_cursor, limit=3)
    assert [one.key for one in (*first.items, *second.items)] == list("ABCD")
    assert second.next_cursor is None


async def test_roles_decide_and_a_foreign_service_does_not_exist(plane, env):
    project = (await plane.services.get(OPERATOR, "app")).project_id
    viewer = values.Principal("usr_v", "v@example.com", roles={project: "viewer"})
    assert (await env.list(viewer, "app"))[0].items
    with pytest.raises(errors.ForbiddenError):
        await env.set(viewer, "app", Wanted("B", "2"))
    with pytest.raises(errors.NotFoundError):
        await env.list(builders.NOBODY, "app")


async def test_another_generation_is_left_alone(plane, env):
    changes = Changes(plane.store, plane.notifier, plane.clock)
    request = Request("usr", "POST /env", "", if_match=frozenset({7}))
    with pytest.raises(errors.PreconditionFailedError):
        await changes.run(request, env.set(OPERATOR, "app", Wanted("B", "2"), "next"), lambda _: None)
    assert await keys(env) == [("A", "1", False)]


async def test_what_is_being_deleted_is_not_changed(plane, env):
    await plane.deployments.delete(OPERATOR, "app")
    with pytest.raises(errors.ConflictError, match="being deleted"):
        await env.set(OPERATOR, "app", Wanted("B", "2"))


async def test_a_rolled_back_build_is_found_through_its_release(plane, env):
    """A release that used another's build leads on to that one, which is what the agent has on disk."""
    await live(plane)
    await env.set(OPERATOR, "app", Wanted("B", "2"))
    await live(plane, 2)
    await env.set(OPERATOR, "app", Wanted("B", "3"))
    assert ((await newest(plane)).number, (await newest(plane)).build_of) == (3, 1)


async def test_a_changed_build_command_is_not_skipped(plane, env):
    await live(plane)
    await plane.deployments.update(OPERATOR, "app", DeploymentChanges(build_cmd="make"))
    async with plane.store.write() as tx:
        two = await tx.get_release((await tx.find_deployment("app")).id, 2)
        await tx.update_release(dataclasses.replace(two, state="cancelled"))
    await env.set(OPERATOR, "app", Wanted("B", "2"))
    assert (await newest(plane)).build_of == 0
