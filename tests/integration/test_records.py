"""What a supervisor writes down of a process, and that nothing but exactly that is ever believed."""

import dataclasses

import pytest

from node_agent.clock import SystemClock
from node_agent.model.crash import Crash, Kind
from node_agent.model.process_state import State
from node_agent.model.restart import History
from node_agent.supervisor import records
from node_agent.supervisor.loop import Loop
from node_agent.supervisor.records import Record, Records
from tests.supervisor_host import a_process

FULL = Record(
    a_process(env=(("KEY", "välue"),)),
    State.BACKOFF,
    pid=77,
    started_ticks=12,
    boot_id="boot",
    started_at=1.5,
    started_monotonic=2.5,
    restarts=3,
    last_exit="exited(1)",
    crash=Crash(Kind.OOM, 9, "more than 64 MiB of memory", 1.5, 2.5, 0.5, 4096, ("one", "two")),
    history=History(2, (1.0, 2.0), looping=True),
    retry_at=9.5,
    grace_s=3.0,
)
NAME = f"{FULL.spec.id}.json"


@pytest.fixture
def kept(tmp_path):
    return Records(Loop(SystemClock()), tmp_path)


@pytest.mark.parametrize("durable", [False, True])
def test_a_record_comes_back_as_it_was(kept, durable):
    kept.save(FULL, durable=durable)
    assert kept.load() == [FULL]


def test_every_flipped_bit_is_seen():
    data = records.encode(FULL)
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(ValueError, match="checksum"):
            records.newest(bytes(flipped))


def test_every_shorter_file_is_seen():
    data = records.encode(FULL)
    for length in range(len(data) - 1):
        with pytest.raises(ValueError, match="checksum"):
            records.newest(data[:length])


def test_the_last_line_counts_and_the_one_before_it_when_that_is_damaged():
    later = dataclasses.replace(FULL, restarts=4)
    data = records.encode(FULL) + records.encode(later)
    assert records.newest(data) == later
    assert records.newest(data[:-10]) == FULL


def test_what_follows_on_a_torn_line_is_read(kept, tmp_path):
    kept.save(FULL)
    with (tmp_path / NAME).open("ab") as file:
        file.write(b"00000000 {")
    assert kept.load() == [FULL]
    kept.save(dataclasses.replace(FULL, restarts=4))
    assert kept.load() == [dataclasses.replace(FULL, restarts=4)]


def test_a_file_does_not_grow_for_ever(kept, tmp_path):
    for number in range(500):
        kept.save(dataclasses.replace(FULL, restarts=number))
    assert (tmp_path / NAME).stat().st_size < 2 * records.SIZE_LIMIT
    assert kept.load() == [dataclasses.replace(FULL, restarts=499)]


def test_a_damaged_record_is_set_aside_once_and_the_others_are_read(kept, tmp_path):
    other = dataclasses.replace(FULL, spec=a_process(id=dataclasses.replace(FULL.spec.id, restart=1)))
    kept.save(FULL)
    kept.save(other)
    (tmp_path / NAME).write_bytes(records.encode(FULL)[:-9])
    assert kept.load() == [other]
    assert (tmp_path / f"{NAME}.damaged").exists()
    assert kept.load() == [other]


def test_a_record_under_the_name_of_another_process_is_set_aside(kept, tmp_path):
    wrong = NAME.replace(".n0.", ".n7.")
    (tmp_path / wrong).write_bytes(records.encode(FULL))
    assert kept.load() == []
    assert (tmp_path / f"{wrong}.damaged").exists()


def test_removing_twice_is_fine(kept):
    kept.save(FULL)
    kept.remove(str(FULL.spec.id))
    kept.remove(str(FULL.spec.id))
    assert kept.load() == []
