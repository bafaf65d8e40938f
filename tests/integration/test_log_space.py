"""Logs within their budgets: whatever is written, killed, cut and compressed, a line is there once or in an exact gap."""

import asyncio
import os
import pathlib
import random
import tempfile
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node_agent.log_reader import LogReader
from node_agent.model.log import LogLine, LogQuery
from node_agent.model.log_blocks import BLOCK
from node_agent.model.log_index import Source
from node_agent.model.log_space import Budgets
from node_agent.paths import Paths
from tests.log_life import Writer, live, without_holes
from tests.supervisor_host import SERVICE

SMALL = Budgets(service_bytes=512 << 10, host_bytes=1 << 30)
LARGE = Budgets(service_bytes=1 << 30, host_bytes=1 << 30)
WEB, WORKER, OLD = Source("web.1", 2, "stdout"), Source("worker.1", 2, "stderr"), Source("web.1", 1, "stdout")
SOURCES = (WEB, WORKER, OLD)
LONG_AGO = 86400.0


class World:
    """One service: two living writers and a file of a release that is gone."""

    def __init__(self, root: pathlib.Path) -> None:
        self.paths = Paths(root)
        self.paths.logs(SERVICE).mkdir(parents=True)
        (root / "memory").mkdir()
        self.writers = {source: Writer(self.paths, source, root / "memory") for source in SOURCES}
        for source in (WEB, WORKER):
            self.writers[source].hold()
        self.now = time.time()

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()

    def live(self, *steps, budgets=SMALL, kill_at=0):
        if self.writers[OLD].raw.exists():
            os.utime(self.writers[OLD].raw, (self.now - LONG_AGO, self.now - LONG_AGO))
        live(self.paths, steps, budgets, now=self.now, alive=(WEB, WORKER), kill_at=kill_at)

    def read(self, **query) -> list[LogLine]:
        async def all_lines():
            reading = LogReader(self.paths).read(LogQuery(SERVICE, **({"tail": 10**9} | query)))
            return [line async for batch in reading for line in batch.lines]

        return asyncio.run(all_lines())

    def used(self) -> int:
        return sum(file.stat().st_blocks * 512 for file in self.paths.logs(SERVICE).iterdir())

    def check(self) -> list[LogLine]:
        """Every number is there once, what is left of a file are its newest lines, and all is within the budget."""
        lines = self.read(after_seq=0)
        written = {source: writer.written() for source, writer in self.writers.items()}
        expected = lines[0].seq if lines else 1
        for line in lines:
            assert line.seq == expected
            expected = (line.gap_to or line.seq) + 1
        assert expected == sum(map(len, written.values())) + 1
        assert lines == [] or lines[0].seq == 1
        for source, texts in written.items():
            found = [x.line for x in lines if not x.gap_to and Source(x.process, x.release, x.stream) == source]
            assert found == texts[len(texts) - len(found) :]
        return lines


@pytest.fixture
def world(tmp_path):
    found = World(tmp_path)
    yield found
    found.close()


def lines(seed: int, size: int) -> bytes:
    """Whole lines of about `size` bytes that no other seed makes; some of them are long, some hold any byte."""
    chance, found, number = random.Random(seed), b"", 0
    while len(found) < size:
        number += 1
        body = chance.choice([b"x" * 300, b"", chance.randbytes(80).replace(b"\n", b" "), b"y" * 40_000])
        found += b"%d.%d %s\n" % (seed, number, body)
    return found


WRITES = st.tuples(st.sampled_from(SOURCES), st.integers(100, 300_000))
LIVES = st.lists(
    st.tuples(
        st.lists(WRITES, max_size=4), st.lists(WRITES, max_size=2), st.sampled_from([0, 0, 1]), st.integers(1, 400)
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(LIVES, st.integers(1, 10**6))
def test_every_line_is_there_once_or_in_a_gap_whatever_is_written_killed_cut_and_compressed(lives, seed):
    with tempfile.TemporaryDirectory() as root:
        world = World(pathlib.Path(root))
        try:
            for while_alive, while_dead, is_killed, kill_at in lives:
                for source, size in while_dead:
                    seed += 1
                    if not world.writers[source].is_deleted:  # only a supervisor starts what would make it again
                        world.writers[source].write(lines(seed, size))
                steps = []
                for source, size in while_alive:
                    seed += 1
                    steps.append(
                        lambda _, source=source, seed=seed, size=size: world.writers[source].write(lines(seed, size))
                    )
                world.live(*steps, kill_at=kill_at * is_killed)
            world.live()
            found = world.check()
            middle = found[len(found) // 2].seq if found else 0
            assert [x for x in world.read(after_seq=middle) if not x.gap_to] == [
                x for x in found if x.seq > middle and not x.gap_to
            ]
            assert world.used() <= SMALL.service_bytes + BLOCK * (len(SOURCES) + 1)
        finally:
            world.close()


def test_a_flood_stays_within_its_budget_and_its_marker_tells_exactly_what_went(world):
    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 200_000)) for n in range(20)])
    gap, *rest = world.check()
    assert gap.gap_to > 0
    assert len(rest) > 1
    assert not any(line.gap_to for line in rest)
    assert world.used() <= SMALL.service_bytes
    assert world.writers[WEB].raw.stat().st_size > 4_000_000  # offsets stay


def test_a_quiet_file_beside_a_flood_is_not_numbered_again_once_its_lines_are_given_up(world):
    world.writers[WORKER].write(b"quiet\n")
    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 200_000)) for n in range(10)])
    world.writers[WORKER].write(b"still there\n")
    world.live()
    assert [line.line for line in world.check() if line.process == "worker.1"] == [b"still there"]


def test_the_file_of_a_release_that_is_gone_is_deleted_once_nothing_of_it_is_kept(world):
    world.writers[OLD].write(lines(1, 100_000))
    world.live()
    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 200_000)) for n in range(9)])
    assert not world.writers[OLD].raw.exists()
    world.check()


def test_lines_go_when_they_are_too_old(world):
    world.writers[OLD].write(b"old\n" * 10)
    world.live()
    world.writers[WEB].write(b"new\n")
    week = Budgets(age_s=3600.0)
    world.live(budgets=week)
    found = world.check()
    assert [(line.seq, line.gap_to, line.line) for line in found] == [(1, 10, b""), (11, 0, b"new")]


def test_a_closed_file_is_compressed_reads_as_before_and_goes_on(world):
    text = b"".join(b"GET /page/%d HTTP/1.1 200\n" % number for number in range(60_000))
    world.writers[OLD].write(text)
    world.live(budgets=LARGE)  # numbers it; it is compressed once it has been idle
    before = world.writers[OLD].raw.stat().st_blocks
    assert before * 512 < len(text) // 2
    assert world.writers[OLD].raw.stat().st_size == len(text)
    assert len(world.check()) == 60_000
    world.writers[OLD].write(b"again\n")
    world.live(budgets=LARGE)
    assert world.check()[-1].line == b"again"
    assert [line.line for line in world.read(tail=2)] == [b"GET /page/59999 HTTP/1.1 200", b"again"]


def test_a_compressed_file_is_given_up_like_any_other(world):
    world.writers[OLD].write(b"".join(b"GET /page/%d HTTP/1.1 200\n" % number for number in range(100_000)))
    world.live(budgets=LARGE)
    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 100_000)) for n in range(2)])
    world.check()
    assert world.used() <= SMALL.service_bytes


def test_a_file_that_does_not_compress_stays_as_it_is(world):
    chance = random.Random(1)
    world.writers[OLD].write(b"".join(chance.randbytes(99).replace(b"\n", b" ") + b"\n" for _ in range(3000)))
    before = world.writers[OLD].raw.stat()
    world.live(budgets=LARGE)
    assert world.writers[OLD].raw.stat().st_ino == before.st_ino
    assert [file.name for file in world.paths.logs(SERVICE).iterdir() if file.name.startswith(".")] == []
    world.check()


@pytest.mark.parametrize("seed", range(10))
def test_flipped_bits_in_the_index_cost_lines_and_never_serve_others(world, seed):
    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 30_000)) for n in range(12)])
    true = {line.seq: line for line in world.read() if not line.gap_to}
    chance, index = random.Random(seed), world.paths.log_index(SERVICE)
    damaged = bytearray(index.read_bytes())
    for _ in range(chance.randint(1, 6)):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
    index.write_bytes(damaged)
    found = world.read(after_seq=1)
    expected = 2
    for line in found:
        assert line.seq == expected
        expected = (line.gap_to or line.seq) + 1
        assert line.gap_to or line == true[line.seq]


def test_a_damaged_note_of_the_positions_costs_one_number_and_doubles_nothing(world):
    world.writers[WORKER].write(lines(1, 200_000))
    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 30_000)) for n in range(30)])
    before = world.check()
    noted = world.paths.log_positions(SERVICE)
    noted.write_bytes(noted.read_bytes().replace(b"at", b"ta"))
    world.writers[WEB].write(b"more\n")
    world.live()
    found = world.read()
    assert [line.line for line in found if line.process == "worker.1" and not line.gap_to] == []
    assert found[-1].seq <= before[-1].seq + 2
    assert [line.line for line in found if not line.gap_to][-1] == b"more"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system that takes no holes")
def test_where_no_hole_can_be_made_closed_files_go_and_a_long_one_is_begun_anew_with_its_process(tmp_path):
    found, files = without_holes(tmp_path, life_without_holes)
    assert {name: size for name, size in files.items() if size} == {"web.1.r2.stdout": len(b"begun anew\n")}
    assert found[-1][1:] == (0, b"begun anew")
    assert found[0][:2] == (1, found[-1][0] - 1)


def life_without_holes(root):
    world = World(root)
    world.writers[OLD].write(lines(1, 300_000))

    def start_web_again(store):
        assert not store.has_holes
        store.close(SERVICE, WEB.process, WEB.release)
        store.open(SERVICE, WEB.process, WEB.release)
        world.writers[WEB].close()
        world.writers[WEB].hold()
        world.writers[WEB].write(b"begun anew\n")

    world.live(*[lambda _, n=n: world.writers[WEB].write(lines(n, 100_000)) for n in range(2, 6)], start_web_again)
    files = {file.name: file.stat().st_size for file in world.paths.logs(SERVICE).glob("w*.r*")}
    return [(line.seq, line.gap_to, line.line) for line in world.check()], files
