"""One suite over the store in memory and the one on SQLite: people, projects, what happened, and webhooks."""

import dataclasses
import datetime

import pytest

from control_plane import store
from control_plane.domain import audit, values, webhook
from control_plane.fakes.store import MemoryStore
from tests import builders

USER, OTHER = builders.an_id("usr"), builders.an_id("usr", 2)
PROJECT, SECOND = builders.an_id("prj"), builders.an_id("prj", 2)


def after(seconds):
    return builders.START + datetime.timedelta(seconds=seconds)


@pytest.fixture(params=["memory", "sqlite"])
async def opened(request, tmp_path):
    made = (
        MemoryStore()
        if request.param == "memory"
        else await store.open(tmp_path / "data" / "control-plane.db", builders.StillClock())
    )
    async with made.write() as tx:
        await tx.insert_project(builders.a_project())
        await tx.insert_project(builders.a_project(id=SECOND, name="second", created_at=after(1)))
        await tx.insert_user(builders.a_user())
        await tx.insert_user(builders.a_user(id=OTHER, email="other@example.com", operator=False, created_at=after(1)))
    yield made
    await made.close()


def a_token(number=1, **changes):
    base = values.Token(
        builders.an_id("tok", number), USER, "ci", f"d{number}", ("a", "b"), "", None, None, after(number)
    )
    return dataclasses.replace(base, **changes)


def a_webhook(number=1, **changes):
    base = values.Webhook(
        builders.an_id("whk", number),
        PROJECT,
        "https://a.test/",
        ("*",),
        "s3cret",
        "",
        "",
        after(number),
        after(number),
    )
    return dataclasses.replace(base, **changes)


def a_delivery(number=1, **changes):
    base = webhook.Delivery(
        id=builders.an_id("dlv", number),
        webhook_id=builders.an_id("whk"),
        event_id=builders.an_id("evt", number),
        event_type="deployment.created",
        subject="dep_1",
        sequence=number,
        body="{}",
        state=webhook.WAITING,
        attempts=0,
        next_at=float(number),
        created_at=after(number),
        changed_at=after(number),
    )
    return dataclasses.replace(base, **changes)


def an_entry(**changes):
    base = values.AuditEntry(
        builders.START, USER, "o@e.c", "127.0.0.1", "req_1", "project.created", "x", "", "", {"a": 1}
    )
    return dataclasses.replace(base, **changes)


async def test_a_login_moves_on_for_the_one_who_knows_its_newest_token(opened):
    family = values.Family("fam_1", USER, "j1", builders.START, after(60))
    async with opened.write() as tx:
        await tx.insert_family(family)
        assert await tx.swap_jti("fam_1", "j1", "j2")
        assert not await tx.swap_jti("fam_1", "j1", "j3")
        assert await tx.get_family("fam_1") == dataclasses.replace(family, jti="j2")
        await tx.revoke_family("fam_1")
        assert not await tx.swap_jti("fam_1", "j2", "j3")
        assert (await tx.get_family("fam_1")).revoked


async def test_all_logins_of_a_user_are_revoked_but_one(opened):
    async with opened.write() as tx:
        for name, user in (("fam_1", USER), ("fam_2", USER), ("fam_3", OTHER)):
            await tx.insert_family(values.Family(name, user, "j", builders.START, after(60)))
        await tx.revoke_families(USER, but="fam_2")
        assert [(await tx.get_family(name)).revoked for name in ("fam_1", "fam_2", "fam_3")] == [True, False, False]


async def test_operators_are_counted_while_they_are_not_disabled(opened):
    async with opened.write() as tx:
        assert await tx.count_operators() == 1
        await tx.update_user(builders.a_user(id=OTHER, email="other@example.com", operator=True))
        assert await tx.count_operators() == 2
        await tx.update_user(builders.a_user(disabled=True))
        assert await tx.count_operators() == 1


async def test_personal_tokens_are_found_by_digest_and_deleted_by_their_user_alone(opened):
    async with opened.write() as tx:
        assert await tx.insert_token(a_token(1, project_id=PROJECT, expires_at=after(9)))
        assert await tx.insert_token(a_token(2))
        assert not await tx.insert_token(a_token(3, digest="d1"))
        await tx.touch_token(a_token(1).id, after(5))
        found = await tx.find_token("d1")
        assert found == a_token(1, project_id=PROJECT, expires_at=after(9), last_used_at=after(5))
        assert [one.id for one in await tx.list_tokens(USER, None, 9)] == [a_token(1).id, a_token(2).id]
        assert await tx.list_tokens(OTHER, None, 9) == []
        assert not await tx.delete_token(a_token(1).id, OTHER)
        assert await tx.delete_token(a_token(1).id, USER)
        assert await tx.find_token("d1") is None


async def test_members_have_one_role_and_go_with_user_and_project(opened):
    async with opened.write() as tx:
        await tx.put_member(values.Member(PROJECT, USER, "owner", builders.START))
        await tx.put_member(values.Member(PROJECT, OTHER, "viewer", after(1)))
        await tx.put_member(values.Member(PROJECT, OTHER, "admin", after(2)))
        await tx.put_member(values.Member(SECOND, OTHER, "viewer", after(3)))
        assert await tx.roles_of(OTHER) == {PROJECT: "admin", SECOND: "viewer"}
        assert [(one.user_id, one.role) for one in await tx.list_members(PROJECT)] == [
            (USER, "owner"),
            (OTHER, "admin"),
        ]
        assert await tx.delete_member(PROJECT, USER)
        assert not await tx.delete_member(PROJECT, USER)
        await tx.delete_project(SECOND)
        assert await tx.roles_of(OTHER) == {PROJECT: "admin"}
        await tx.delete_user(OTHER)
        assert await tx.list_members(PROJECT) == []
        assert [one.id for one in await tx.list_users(None, 9)] == [USER]


async def test_a_project_is_renamed_unless_the_name_is_taken(opened):
    async with opened.write() as tx:
        assert not await tx.update_project(builders.a_project(name="second"))
        assert await tx.update_project(builders.a_project(name="third", generation=2, deleting=True))
        assert await tx.find_project("third") == builders.a_project(name="third", generation=2, deleting=True)
        assert [one.name for one in await tx.list_projects({SECOND}, None, None, 9)] == ["second"]
        assert set(await tx.projects_by_id([PROJECT, "prj_none"])) == {PROJECT}


async def test_the_audit_is_a_chain_and_filtered_newest_first(opened):
    async with opened.write() as tx:
        first = await tx.append_audit(an_entry())
        second = await tx.append_audit(an_entry(action="project.deleted", project_id=PROJECT, at=after(1)))
    async with opened.read() as tx:
        assert await tx.audit_after(0, 9) == [first, second]
        assert audit.first_break(await tx.audit_after(0, 9), 2) == ""
        assert await tx.list_audit(None, values.AuditQuery(), None, 9) == [second, first]
        assert await tx.list_audit({PROJECT}, values.AuditQuery(), None, 9) == [second]
        assert await tx.list_audit(None, values.AuditQuery(action="project.created"), None, 9) == [first]
        assert await tx.list_audit(None, values.AuditQuery(since=after(1)), None, 9) == [second]
        assert await tx.list_audit(None, values.AuditQuery(until=after(1), actor=USER), None, 9) == [first]
        assert await tx.list_audit(None, values.AuditQuery(), 2, 9) == [first]
        assert await tx.list_audit(None, values.AuditQuery(actor="o@e.c"), None, 9) == [second, first]
        assert await tx.list_audit(None, values.AuditQuery(target="y"), None, 9) == []


async def test_events_go_on_where_a_reader_was(opened):
    def an_event(number, **changes):
        base = values.Event(
            builders.an_id("evt", number), "route.created", PROJECT, "rte_1", after(number), {"n": number}
        )
        return dataclasses.replace(base, **changes)

    async with opened.write() as tx:
        assert await tx.newest_event() == 0
        one = await tx.append_event(an_event(1))
        two = await tx.append_event(an_event(2, type="route.deleted", subject="rte_2"))
        own = await tx.append_event(an_event(3, project_id=""))
        assert await tx.newest_event() == own.sequence
        assert one.sequence < two.sequence < own.sequence
        everything = values.EventQuery()
        assert await tx.list_events(None, everything, 0, 9) == [one, two, own]
        assert await tx.list_events({PROJECT}, everything, one.sequence, 9) == [two]
        assert await tx.list_events(None, values.EventQuery(types=("route.deleted",)), 0, 9) == [two]
        assert await tx.list_events(None, values.EventQuery(subject="rte_1"), 0, 1) == [one]
        assert await tx.list_events(None, values.EventQuery(since=after(2)), 0, 9) == [two, own]
        assert await tx.find_event(two.id) == two
        assert await tx.find_event("evt_none") is None
        await tx.delete_project(PROJECT)
        assert await tx.list_events(None, everything, 0, 9) == [one, two, own]


async def test_what_is_old_is_dropped_and_no_number_comes_again(opened):
    async with opened.write() as tx:
        for number in (1, 2, 3):
            await tx.append_event(values.Event(f"evt_{number}", "x", PROJECT, "x", after(number), {}))
        await tx.drop_events(after(9))
        (newest,) = await tx.list_events(None, values.EventQuery(), 0, 9)
        assert (
            await tx.append_event(values.Event("evt_4", "x", PROJECT, "x", after(9), {}))
        ).sequence > newest.sequence
        for name, seconds in (("fam_1", 5), ("fam_2", 50)):
            await tx.insert_family(values.Family(name, USER, "j", builders.START, after(seconds)))
        await tx.drop_families(after(9))
        assert await tx.get_family("fam_1") is None
        assert await tx.get_family("fam_2") is not None


async def test_tokens_that_ended_are_dropped_and_those_without_an_end_stay(opened):
    async with opened.write() as tx:
        for number, end in ((1, after(5)), (2, after(50)), (3, None)):
            await tx.insert_token(a_token(number, expires_at=end))
            await tx.insert_join_token(f"join_{number}", 5.0 * number)
        await tx.drop_tokens(after(9))
        await tx.drop_join_tokens(10.0)
        assert [one.id for one in await tx.list_tokens(USER, None, 9)] == [a_token(2).id, a_token(3).id]
        assert not await tx.spend_join_token("join_2", 0.0)
        assert await tx.spend_join_token("join_3", 0.0)


async def test_deliveries_that_came_to_an_end_are_dropped_and_those_that_wait_stay(opened):
    async with opened.write() as tx:
        await tx.insert_webhook(a_webhook())
        await tx.insert_delivery(a_delivery(1, state=webhook.DELIVERED))
        await tx.insert_attempt(webhook.Attempt(a_delivery(1).id, 1, after(1), 200, "", "", 1))
        await tx.insert_delivery(a_delivery(2))
        await tx.drop_deliveries(after(9))
        assert [one.sequence for one in await tx.list_deliveries(a_webhook().id, None, 9)] == [2]
        assert await tx.attempts_of([a_delivery(1).id]) == {}


async def test_an_answer_is_kept_once_for_its_key(opened):
    stored = values.StoredAnswer("user:1", "POST /x", "k", "f", 201, {"Location": "/x/1"}, '{"a":1}', 100.0, ("prj_1",))
    async with opened.write() as tx:
        assert await tx.insert_answer(stored)
        assert not await tx.insert_answer(dataclasses.replace(stored, fingerprint="other"))
        assert await tx.find_answer("user:1", "POST /x", "k") == stored
        assert await tx.find_answer("user:2", "POST /x", "k") is None
        await tx.drop_answers(100.0)
        assert await tx.find_answer("user:1", "POST /x", "k") == stored
        await tx.drop_answers(100.5)
        assert await tx.find_answer("user:1", "POST /x", "k") is None


async def test_webhooks_of_a_project_and_of_the_installation_get_its_events(opened):
    async with opened.write() as tx:
        await tx.insert_webhook(a_webhook(1))
        await tx.insert_webhook(a_webhook(2, project_id=""))
        await tx.insert_webhook(a_webhook(3, disabled_reason="gone"))
        await tx.insert_webhook(a_webhook(4, project_id=SECOND))
        assert await tx.get_webhook(a_webhook().id) == a_webhook()
        assert [one.id[-1] for one in await tx.webhooks_for(PROJECT)] == ["1", "2"]
        assert [one.id[-1] for one in await tx.webhooks_for("")] == ["2"]
        assert [one.id[-1] for one in await tx.list_webhooks({PROJECT}, None, 9)] == ["1", "3"]
        changed = a_webhook(1, secret="new", generation=2, events=("route.*",))
        await tx.update_webhook(changed)
        assert await tx.get_webhook(changed.id) == changed
        await tx.delete_project(SECOND)
        assert [one.id[-1] for one in await tx.list_webhooks(None, None, 9)] == ["1", "2", "3"]


async def test_of_each_object_the_first_delivery_that_waits_is_due(opened):
    async with opened.write() as tx:
        await tx.insert_webhook(a_webhook())
        assert await tx.next_delivery_at(0.0) is None
        await tx.insert_delivery(a_delivery(2))
        await tx.insert_delivery(a_delivery(1, next_at=5.0))
        await tx.insert_delivery(a_delivery(3, subject="dep_2"))
        assert await tx.next_delivery_at(0.0) == 3.0
        assert await tx.next_delivery_at(3.0) == 5.0
        assert [one.sequence for one in await tx.due_deliveries(4.0, 9)] == [3]
        assert [one.sequence for one in await tx.due_deliveries(5.0, 9)] == [3, 1]
        await tx.update_delivery(a_delivery(1, state=webhook.DELIVERED))
        assert [one.sequence for one in await tx.due_deliveries(5.0, 9)] == [2, 3]
        assert [one.sequence for one in await tx.list_deliveries(a_webhook().id, None, 9)] == [3, 2, 1]
        assert [one.sequence for one in await tx.list_deliveries(a_webhook().id, None, 9, webhook.DELIVERED)] == [1]
        assert await tx.due_deliveries(9.0, 9, without=[a_webhook().id]) == []
        await tx.fail_deliveries(a_webhook().id, after(9))
        assert await tx.due_deliveries(9.0, 9) == []
        assert (await tx.get_delivery(a_delivery(1).id)).state == webhook.DELIVERED


async def test_an_enabled_webhook_is_behind_when_more_waits_for_it_than_may(opened):
    async with opened.write() as tx:
        for number in (1, 2):
            await tx.insert_webhook(a_webhook(number, disabled_reason="" if number == 1 else "gone"))
        for number in (1, 2, 3):
            await tx.insert_delivery(a_delivery(number))
        await tx.insert_delivery(a_delivery(4, state=webhook.DELIVERED))
        assert await tx.webhooks_behind(3) == []
        assert await tx.webhooks_behind(2) == [a_webhook().id]
        await tx.update_webhook(a_webhook(1, disabled_reason="gone"))
        assert await tx.webhooks_behind(2) == []


async def test_attempts_stand_with_their_delivery_and_go_with_its_webhook(opened):
    attempts = [webhook.Attempt(a_delivery().id, number, after(number), 500, "", "no", 12) for number in (1, 2)]
    async with opened.write() as tx:
        await tx.insert_webhook(a_webhook())
        await tx.insert_delivery(a_delivery())
        for attempt in reversed(attempts):
            await tx.insert_attempt(attempt)
        assert await tx.attempts_of([a_delivery().id, "dlv_none"]) == {a_delivery().id: attempts}
        await tx.delete_webhook(a_webhook().id)
        assert await tx.get_delivery(a_delivery().id) is None
        assert await tx.attempts_of([a_delivery().id]) == {}
