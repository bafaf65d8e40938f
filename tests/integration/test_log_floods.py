"""Programs that write whatever they like, as fast as they can: no byte changes, room and memory stay bounded, every number
is a line or in a gap of exactly its lines.
"""

import collections
import pathlib
import sys

from node_agent.log_reader import LogReader
from node_agent.model.log import LogQuery
from node_agent.model.log_index import LINE_LIMIT
from node_agent.model.process import ProcessId
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import SERVICE, a_process
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until_async

MIB = 1 << 20
LIMIT, OVER = 16 * MIB, 64 * MIB  # docs/explanation/logs.md: how far a flood may be over the limit for a moment
WRITERS, LINES = 4, 400_000  # 100 bytes each: 160 MB
RATE, PER_TURN = 200_000, 1000  # lines in all: two seconds of 100,000 a second
NEIGHBOUR = "svc_" + "1" * 26

BYTES = """
import os, time
every = bytes(range(256))
text = every * 300 + b"\\n" + b"\\xff\\xfe\\xc3(\\xed\\xa0\\x80\\n" + b"\\0" * 20000 + b"\\r\\n\\n" + b"no newline"
while text:
    text = text[os.write(1, text):]
time.sleep(1000)
"""
PACED = f"""
import os, time
begun, number = time.monotonic(), 0
while number < {RATE}:
    os.write(1, b"".join(b"%099d\\n" % n for n in range(number + 1, number + 1 + {PER_TURN})))
    number += {PER_TURN}
    time.sleep(max(0, begun + number / 100_000 - time.monotonic()))
time.sleep(1000)
"""
TICKING = """
import os, time
number = 0
while True:
    number += 1
    os.write(1, b"%d\\n" % number)
    time.sleep(0.005)
"""


async def connected(host, limits):
    host.start("--log-limits", limits)
    client = SupervisorClient(host.paths)
    await client.connect(20)
    return client


async def read(paths, service_id=SERVICE, **query):
    reading = LogReader(paths).read(LogQuery(service_id, **({"tail": 10**9} | query)))
    return [line async for batch in reading for line in batch.lines]


def used(host):
    return sum(file.stat().st_blocks * 512 for file in host.paths.logs(SERVICE).iterdir())


def peak_memory(host):
    """The most that the supervisor ever had in memory, in bytes."""
    text = pathlib.Path(f"/proc/{host.process.pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


def numbers(lines):
    """Every number is there once or in a gap; by process, what the lines that are left say."""
    expected, said = 1, collections.defaultdict(list)
    for line in lines:
        assert line.seq == expected
        expected = (line.gap_to or line.seq) + 1
        if not line.gap_to:
            said[line.process].append(int(line.line))
    return expected - 1, said


async def test_bytes_of_a_real_program_come_back_whatever_they_are(host):
    client = await connected(host, "512,4096,30")
    await client.start(a_process(host.script("app.py", BYTES)))
    raw = host.paths.log_file(SERVICE, "web.1", 1, "stdout")

    async def all_read():
        lines = await read(host.paths)
        return lines if lines and lines[-1].line == b"no newline" else None

    lines = await wait_until_async(all_read)
    texts = raw.read_bytes().split(b"\n")
    assert b"\xff\xfe\xc3(\xed\xa0\x80" in texts
    pieces = [text[at : at + LINE_LIMIT] for text in texts for at in range(0, max(1, len(text)), LINE_LIMIT)]
    assert [line.line for line in lines] == pieces
    await client.close()


async def test_writers_that_never_pause_stay_within_the_limit_and_the_gap_has_exactly_their_lines(host):
    client = await connected(host, f"{LIMIT // MIB},100,30")
    before = peak_memory(host)
    for number in range(1, WRITERS + 1):
        command = f"seq -f %099.0f 1 {LINES}; exec sleep 1000"
        await client.start(a_process(command, id=ProcessId(SERVICE, 1, 0, f"web.{number}")))
    files = [host.paths.log_file(SERVICE, f"web.{number}", 1, "stdout") for number in range(1, WRITERS + 1)]
    most = 0

    def written():
        nonlocal most
        most = max(most, used(host))
        return sum(file.stat().st_size for file in files) == WRITERS * LINES * 100

    async def settled():
        return used(host) <= LIMIT and numbers(await read(host.paths))[0] == WRITERS * LINES

    await wait_until_async(written, 120, "all lines")
    await wait_until_async(settled, 120, "all numbers")
    assert most <= LIMIT + OVER
    assert peak_memory(host) - before < 8 * MIB
    lines = await read(host.paths)
    total, said = numbers(lines)
    assert total == WRITERS * LINES
    assert [bool(line.gap_to) for line in lines].count(True) == 1
    for left in said.values():
        assert left == list(range(LINES + 1 - len(left), LINES + 1))
    await client.close()


async def test_beside_a_hundred_thousand_lines_a_second_a_neighbour_is_read_whole_and_memory_is_bounded(host):
    client = await connected(host, "4,100,30")
    host.paths.release_tree(NEIGHBOUR, 1).mkdir(parents=True)
    await client.start(a_process(f"exec {sys.executable} -c '{TICKING}'", id=ProcessId(NEIGHBOUR, 1, 0, "web.1")))
    before = peak_memory(host)
    await client.start(a_process(host.script("app.py", PACED)))
    seen = []
    raw = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    async for batch in LogReader(host.paths).read(LogQuery(NEIGHBOUR, follow=True)):
        seen += [int(line.line) for line in batch.lines]
        if raw.stat().st_size == RATE * 100:
            break
    assert seen == list(range(1, len(seen) + 1))

    async def counted():
        return numbers(await read(host.paths))[0] == RATE

    await wait_until_async(counted, 60, "all numbers")
    gap, *lines = await read(host.paths)
    assert (gap.seq, gap.gap_to) == (1, lines[0].seq - 1)
    assert [int(line.line) for line in lines] == [line.seq for line in lines]
    assert peak_memory(host) - before < 8 * MIB
    await client.close()


async def test_a_supervisor_that_is_killed_in_a_flood_leaves_every_number_a_line_or_in_a_gap(host):
    client = await connected(host, "4,100,30")
    await client.start(a_process(f"seq -f %099.0f 1 {LINES}; exec sleep 1000"))
    raw = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    for part in range(1, 6):
        await wait_until_async(lambda part=part: raw.stat().st_size >= LINES * 100 * part // 6, 60)
        host.kill()
        host.start("--log-limits", "4,100,30")

    async def all_numbered():
        return numbers(await read(host.paths))[0] == LINES

    await wait_until_async(all_numbered, 60, "all numbers")
    _, said = numbers(await read(host.paths))
    assert said["web.1"] == list(range(LINES + 1 - len(said["web.1"]), LINES + 1))
    await client.close()
