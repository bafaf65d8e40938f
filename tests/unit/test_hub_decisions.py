"""What the hub decides without a wire: what is due, how a stranger's text is read, who calls."""

import asyncio
import math

import pytest

from control_plane import errors
from control_plane.domain import values
from control_plane.hub import buffer, session, wire
from protos import agent_pb2 as pb
from tests.hub_fixtures import INSTANCE, SERVICE, a_wish


def test_a_wish_is_due_when_new_when_newer_and_when_it_may_be_lost():
    wish = a_wish(generation=2)
    assert session.due([wish], {}, 100.0, 5.0) == (wish,)
    assert session.due([wish], {SERVICE: (1, 100.0)}, 100.0, 5.0) == (wish,)
    assert session.due([wish], {SERVICE: (2, 96.0)}, 100.0, 5.0) == ()
    assert session.due([wish], {SERVICE: (2, 95.0)}, 100.0, 5.0) == (wish,)


def test_the_caller_is_the_one_spiffe_id_of_the_certificate():
    good = f"spiffe://dployr/instance/{INSTANCE}".encode()
    assert wire.instance_of({"peer_spiffe_id": [good]}) == INSTANCE


@pytest.mark.parametrize(
    "names",
    [
        [],
        [b"spiffe://dployr/instance/ins_1", b"spiffe://dployr/instance/ins_2"],
        [b"spiffe://dployr/instance/../x"],
        [f"spiffe://dployr/instance/{INSTANCE}/x".encode()],
        [f"spiffe://other/instance/{INSTANCE}".encode()],
        [f"spiffe://dployr/instance/{INSTANCE}\n".encode()],
        [b"\xff"],
    ],
)
def test_any_other_certificate_names_nobody(names):
    with pytest.raises(errors.UnauthenticatedError):
        wire.instance_of({"peer_spiffe_id": names})


def test_every_kind_of_error_has_a_status():
    assert set(wire.STATUS) == set(errors.Kind)
    assert set(wire.RUN) == set(values.Run)


@pytest.mark.parametrize(
    "message",
    [
        pb.StatusReport(service_id="nonsense"),
        pb.StatusReport(service_id=SERVICE, sequence=1 << 63),
        pb.StatusReport(service_id=SERVICE, observed_generation=1 << 63),
        pb.StatusReport(service_id=SERVICE, routes=[pb.RouteReport()] * 501),
        pb.StatusReport(service_id=SERVICE, releases=[pb.ReleaseReport(changed_at=math.inf)]),
        pb.StatusReport(service_id=SERVICE, processes=[pb.ProcessReport(started_at=-1.0)]),
    ],
)
def test_a_report_that_cannot_be_meant_is_invalid(message):
    with pytest.raises(errors.InvalidError):
        wire.report(message)


def test_texts_are_cut_and_lose_their_nuls():
    report = wire.report(pb.StatusReport(service_id=SERVICE, message="a\0b" * 10_000, status="s" * 1000))
    assert "\0" not in report.observed.message
    assert len(report.observed.message) <= wire.MAX_TEXT
    assert len(report.observed.status) == wire.MAX_WORD


def _lines(*numbers: int, size: int = 1) -> tuple[values.LogLine, ...]:
    return tuple(values.LogLine(number, 0.0, "out", "web", 1, b"x" * size) for number in numbers)


async def test_a_full_buffer_drops_and_says_what_between_the_lines_that_came_through():
    waiting = buffer.Buffer(max_batches=2, max_bytes=1 << 20)
    await waiting.put((), caught_up=True)
    for number in range(1, 6):
        await waiting.put(_lines(number))
    assert await waiting.get() == _lines(1)
    await waiting.put(_lines(6))
    assert await waiting.get() == _lines(2)
    marker, line = await waiting.get()
    assert (marker.seq, marker.gap_to, line.seq) == (3, 5, 6)


async def test_a_gap_at_the_end_is_told_before_the_end():
    waiting = buffer.Buffer(max_batches=1, max_bytes=1 << 20)
    await waiting.put((), caught_up=True)
    for number in (1, 2, 3):
        await waiting.put(_lines(number))
    await waiting.finish()
    assert await waiting.get() == _lines(1)
    assert [(line.seq, line.gap_to) for line in await waiting.get()] == [(2, 3)]
    with pytest.raises(buffer.Done):
        await waiting.get()


async def test_a_buffer_is_bounded_in_bytes_too_but_takes_one_batch_of_any_size():
    waiting = buffer.Buffer(max_batches=64, max_bytes=1000)
    await waiting.put((), caught_up=True)
    await waiting.put(_lines(1, size=5000))
    await waiting.put(_lines(2))
    assert await waiting.get() == _lines(1, size=5000)
    assert [(line.seq, line.gap_to) for line in await waiting.get()] == [(2, 2)]


async def test_the_writer_of_a_tail_waits_for_room_and_is_let_go_when_the_reader_leaves():
    waiting = buffer.Buffer(max_batches=1, max_bytes=1 << 20)
    await waiting.put(_lines(1))
    writing = asyncio.create_task(waiting.put(_lines(2)))
    await asyncio.sleep(0)
    assert not writing.done()
    await waiting.close()
    await asyncio.wait_for(writing, 5)


async def test_the_first_end_counts():
    waiting = buffer.Buffer(max_batches=1, max_bytes=1 << 20)
    await waiting.finish()
    await waiting.finish(buffer.Lost())
    with pytest.raises(buffer.Done):
        await waiting.get()
