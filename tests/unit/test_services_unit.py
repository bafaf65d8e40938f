"""Changes of clients as units: keys, preconditions, dry runs, and nothing half-made."""

import asyncio

import pytest

from control_plane import errors
from control_plane.fakes.notifier import RecordingNotifier
from control_plane.fakes.store import MemoryStore
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.unit import ANY, Answer, Changes, Request
from tests import builders


@pytest.fixture
async def context():
    made = Context(MemoryStore(), RecordingNotifier(), builders.StillClock(), builders.CountingIds())
    await ensure_defaults(made)
    return made


@pytest.fixture
def changes(context):
    return Changes(context.store, context.notifier, context.clock)


def a_request(**changes):
    return Request(**{"principal": "user:1", "route": "POST /x", "fingerprint": "f", **changes})


async def write(context, value, generation=1, fail=None):
    async with context.write() as tx:
        context.match(generation)
        await tx.put_setting("x", value)
        await context.audit(tx, builders.OPERATOR, "x.written", "x", summary=f"write {value}", value=value)
        context.wake("ins_1")
    if fail is not None:
        raise fail
    return value


async def stored(context):
    async with context.store.read() as tx:
        return await tx.get_setting("x")


def shape(value):
    return Answer(201, {"value": value}, {"Location": "/x"})


async def test_a_repeated_key_gets_the_stored_answer_and_changes_nothing(context, changes):
    first = await changes.run(a_request(key="k"), write(context, "1"), shape)
    again = await changes.run(a_request(key="k"), write(context, "2"), shape)
    assert first == (Answer(201, {"value": "1"}, {"Location": "/x"}), False)
    assert again == (first[0], True)
    assert await stored(context) == "1"
    assert context.notifier.told == ["ins_1"]


async def test_a_key_is_for_one_request_one_principal_and_one_route(context, changes):
    await changes.run(a_request(key="k"), write(context, "1"), shape)
    with pytest.raises(errors.IdempotencyMismatchError):
        await changes.run(a_request(key="k", fingerprint="g"), write(context, "2"), shape)
    for other in ({"principal": "user:2"}, {"route": "PUT /x"}, {"key": "l"}):
        answer, replayed = await changes.run(a_request(**{"key": "k", **other}), write(context, "3"), shape)
        assert (answer.body, replayed) == ({"value": "3"}, False)


async def test_an_answer_is_not_repeated_for_who_may_not_do_it_any_more(context, changes):
    async def work():
        async with context.write() as tx:
            await context.audit(tx, builders.OPERATOR, "x.written", "x", project="prj_1")
        return "1"

    def refuse(project):
        raise errors.ForbiddenError(f"no role in {project}")

    await changes.run(a_request(key="k"), work(), shape)
    with pytest.raises(errors.ForbiddenError, match="prj_1"):
        await changes.run(a_request(key="k", may_see=refuse), work(), shape)
    assert (await changes.run(a_request(key="k"), work(), shape))[1]


async def test_an_answer_that_says_nothing_is_repeated_whoever_asks(context, changes):
    """Who took something away may have lost it by that, and is told again that it is gone."""

    def refuse(_project):
        raise errors.NotFoundError("gone")

    async def work():
        async with context.write() as tx:
            await context.audit(tx, builders.OPERATOR, "x.deleted", "x", project="prj_1")

    request = a_request(key="k", may_see=refuse)
    await changes.run(request, work(), lambda _: Answer(204))
    assert await changes.run(request, work(), lambda _: Answer(204)) == (Answer(204), True)


async def test_a_key_is_forgotten_after_a_day(context, changes):
    await changes.run(a_request(key="k"), write(context, "1"), shape)
    context.clock.advance(24 * 3600 + 1)
    answer, replayed = await changes.run(a_request(key="k", fingerprint="g"), write(context, "2"), shape)
    assert (answer.body, replayed) == ({"value": "2"}, False)


async def test_a_key_whose_first_request_still_runs_is_a_conflict(context, changes):
    reached, go = asyncio.Event(), asyncio.Event()

    async def slow():
        reached.set()
        await go.wait()
        return await write(context, "1")

    running = asyncio.create_task(changes.run(a_request(key="k"), slow(), shape))
    await reached.wait()
    with pytest.raises(errors.ConflictError, match="still running"):
        await changes.run(a_request(key="k"), write(context, "2"), shape)
    go.set()
    assert (await running)[0].body == {"value": "1"}


async def test_a_request_that_fails_keeps_nothing_and_its_key_is_free(context, changes):
    with pytest.raises(errors.ConflictError):
        await changes.run(a_request(key="k"), write(context, "1", fail=errors.ConflictError("no")), shape)
    assert await stored(context) is None
    assert context.store.audit == ()
    assert context.notifier.told == []
    assert (await changes.run(a_request(key="k"), write(context, "2"), shape))[0].body == {"value": "2"}


async def test_an_error_that_the_work_swallowed_still_spoils_the_whole(context, changes):
    async def careless():
        await write(context, "1")
        try:
            async with context.write() as tx:
                await tx.put_setting("y", "half")
                raise errors.ConflictError("no")
        except errors.ConflictError:
            return "done"

    with pytest.raises(errors.UnavailableError, match="none of it"):
        await changes.run(a_request(), careless(), shape)
    assert await stored(context) is None


async def test_several_blocks_of_one_change_commit_together(context, changes):
    async def twice():
        await write(context, "1")
        assert await stored(context) is None
        return await write(context, "2")

    await changes.run(a_request(), twice(), shape)
    assert await stored(context) == "2"
    assert [row.sequence for row in context.store.audit] == [1, 2]


async def test_a_dry_run_says_what_would_change_and_changes_nothing(context, changes):
    answer, _ = await changes.run(a_request(dry_run=True, key="k"), write(context, "1"), shape)
    assert answer.status == 200
    step = {"action": "x.written", "target": "x", "summary": "write 1", "data": {"value": "1"}}
    assert answer.body == {"dry_run": True, "changes": [step], "status": 201, "result": {"value": "1"}}
    assert await stored(context) is None
    assert context.store.audit == ()
    assert context.notifier.told == []
    assert (await changes.run(a_request(key="k"), write(context, "2"), shape))[1] is False


@pytest.mark.parametrize("wanted", [frozenset({1}), frozenset({7, 1}), ANY, None])
async def test_the_wanted_generation_is_changed(context, changes, wanted):
    await changes.run(a_request(if_match=wanted), write(context, "1", generation=1), shape)
    assert await stored(context) == "1"


async def test_another_generation_than_the_wanted_is_left_alone(context, changes):
    with pytest.raises(errors.PreconditionFailedError) as caught:
        await changes.run(a_request(if_match=frozenset({1})), write(context, "1", generation=2), shape)
    assert caught.value.details == {"generation": 2}
    assert await stored(context) is None


async def test_a_precondition_that_nobody_checks_is_refused(context, changes):
    async def unchecked():
        async with context.write() as tx:
            await tx.put_setting("x", "1")
        return "1"

    with pytest.raises(errors.PreconditionFailedError):
        await changes.run(a_request(if_match=frozenset({1})), unchecked(), shape)
    assert await stored(context) is None


async def test_work_that_is_not_needed_is_closed(context, changes):
    await changes.run(a_request(key="k"), write(context, "1"), shape)
    unused = write(context, "2")
    await changes.run(a_request(key="k"), unused, shape)
    assert unused.cr_frame is None
