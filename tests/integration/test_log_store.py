"""The log from the app's write to the reader's line, with a real indexer in between."""

import asyncio
import os
import pathlib
import shutil
import signal

import pytest

from node_agent.log_cursor import Search
from node_agent.log_reader import LogReader
from node_agent.model import log_index
from node_agent.model.log import LogQuery
from node_agent.model.log_index import LINE_LIMIT, SIZE
from node_agent.supervisor_client import SupervisorClient
from tests.log_files import WrittenLog
from tests.supervisor_host import SERVICE, a_job, a_process, reach
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until_async

COUNTER = """
import time
number = 0
while True:
    number += 1
    print(f"line {number}", flush=True)
    time.sleep(0.002)
"""


@pytest.fixture
def log(host):
    """A log without a supervisor: `write` appends to a raw file and to the index."""
    return WrittenLog(host.paths, SERVICE)


async def read(paths, search=None, **query):
    batches = [batch async for batch in LogReader(paths, search).read(LogQuery(SERVICE, **query))]
    assert [batch.caught_up for batch in batches] == [False] * (len(batches) - 1) + [True]
    assert all(len(batch.lines) <= 100 for batch in batches)
    return [line for batch in batches for line in batch.lines]


async def texts(paths, search=None, **query):
    return [line.line for line in await read(paths, search, **query)]


def is_whole(lines):
    return [line.seq for line in lines] == list(range(lines[0].seq, lines[0].seq + len(lines)))


# what is read


async def test_a_log_that_was_never_begun_is_empty(host):
    assert await read(host.paths) == []


async def test_the_tail_is_the_last_lines_over_processes_and_streams(log):
    log.write(b"one\ntwo\n")
    log.write(b"oops\n", stream="stderr")
    log.write(b"three\nfour\n", release=2)
    lines = await read(log.paths, tail=3)
    assert [(line.seq, line.stream, line.release, line.line) for line in lines] == [
        (3, "stderr", 1, b"oops"),
        (4, "stdout", 2, b"three"),
        (5, "stdout", 2, b"four"),
    ]
    assert lines[0].process == "web.1"
    assert lines[0].time == 1.5
    assert await texts(log.paths, tail=0) == []
    assert len(await read(log.paths, tail=5000)) == 5


@pytest.mark.parametrize("after", [1, 2, 3, 149, 150, 298])
async def test_after_a_number_come_exactly_the_lines_that_follow(log, after):
    for number in range(0, 300, 3):
        log.write(b"%d\n%d\n%d\n" % (number + 1, number + 2, number + 3))
    assert await texts(log.paths, after_seq=after) == [b"%d" % n for n in range(after + 1, 301)]


async def test_build_and_run_are_told_apart_and_so_are_releases(log):
    log.write(b"compiling\n", process="build")
    log.write(b"serving\n")
    log.write(b"compiling again\n", process="build", release=2)
    assert await texts(log.paths, source="build") == [b"compiling", b"compiling again"]
    assert await texts(log.paths, source="run") == [b"serving"]
    assert await texts(log.paths, release=1) == [b"compiling", b"serving"]
    assert await texts(log.paths, source="build", tail=1) == [b"compiling again"]
    assert await texts(log.paths, source="build", release=2, after_seq=1) == [b"compiling again"]


async def test_a_search_counts_the_lines_that_match(log):
    for number in range(200):
        log.write(f"GET /{number}\nPOST /{number}\n".encode())
    assert await texts(log.paths, tail=2, grep=b"POST") == [b"POST /198", b"POST /199"]
    assert await texts(log.paths, tail=5, grep=b"/199") == [b"GET /199", b"POST /199"]
    assert await texts(log.paths, tail=5, grep=b"PUT") == []
    assert await texts(log.paths, after_seq=390, grep=b"GET /19") == [
        f"GET /{number}".encode() for number in range(195, 200)
    ]


async def test_a_tail_counts_the_lines_of_its_stream_and_process(log):
    log.write(b"a\n", "web.1", stream="stderr")
    log.write(b"b\n", "web.2")
    log.write(b"c\n" * 300, "web.1")
    assert await texts(log.paths, tail=3, stream="stderr") == [b"a"]
    assert await texts(log.paths, tail=3, process="web.2") == [b"b"]
    assert await texts(log.paths, tail=2, stream="stdout", process="web.1") == [b"c", b"c"]


async def test_a_span_of_time_is_cut_out(log):
    for second in range(1, 1200):
        log.write(f"{second}\n".encode(), time=float(second))
    assert await texts(log.paths, tail=100, since=1198.0) == [b"1198", b"1199"]
    assert await texts(log.paths, tail=2, until=5.0) == [b"4", b"5"]
    assert await texts(log.paths, tail=9, since=600.0, until=602.0) == [b"600", b"601", b"602"]
    assert await texts(log.paths, tail=9, since=5000.0) == []


def bytes_read():
    """By this process, of whatever file."""
    return int(pathlib.Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="the kernel does not count what is read")
@pytest.mark.parametrize(
    "query",
    [
        {"after_seq": 10_000, "until": 10_003.0},
        {"since": 10_001.0, "until": 10_003.0},
        {"tail": 3, "until": 10_003.0},
        {"after_seq": 7, "since": 10_001.0, "until": 10_003.0},
        {"since": 19_998.0},
        {"after_seq": 3, "since": 19_998.0},
        {"since": 19_950.0, "process": "web.9"},
        {"since": 200_000.0, "grep": b"1"},
    ],
)
async def test_a_place_is_found_by_number_and_by_time_without_reading_what_is_before_or_after(log, query):
    log.write_many(20_000)  # 1.6 MB of index
    before = bytes_read()
    found = await texts(log.paths, **query)
    assert bytes_read() - before < 120_000
    last = {10_003.0: [b"10001", b"10002", b"10003"], None: [b"19998", b"19999", b"20000"]}[query.get("until")]
    assert found == ([] if "process" in query or "grep" in query else last)


async def test_lines_that_were_found_late_do_not_hide_those_before_them_from_a_search_by_time(log):
    for number in range(1, 400):
        log.write(b"%d\n" % number, time=float(number))
        if number % 2:
            log.write(b"late %d\n" % number, time=5.0, late=True)
    for since in (1.0, 100.0, 398.0):
        found = await texts(log.paths, tail=5000, since=since)
        assert [text for text in found if not text.startswith(b"late")] == [b"%d" % n for n in range(int(since), 400)]
        assert len([text for text in found if text.startswith(b"late")]) == (200 if since < 5 else 0)


async def test_damaged_entries_do_not_lead_a_search_by_time_astray(log):
    log.write_many(1000)
    for damaged in (499, 500, 501, 620, 749):
        with log.paths.log_index(SERVICE).open("r+b") as file:
            file.seek(SIZE * damaged)
            file.write(b"\xff" * 4)
    assert await texts(log.paths, tail=9, since=740.0, until=745.0) == [b"%d" % n for n in range(740, 746)]


async def test_a_search_goes_through_a_bounded_piece_of_the_newest_output(log):
    small = Search(step_bytes=100, tail_bytes=1000)
    log.write(b"needle\n")
    for _ in range(300):
        log.write(b"straw straw\n")
    assert await texts(log.paths, small, tail=1, grep=b"needle") == []
    assert await texts(log.paths, small, tail=2, grep=b"straw") == [b"straw straw"] * 2
    log.write(b"needle\n")
    assert await texts(log.paths, small, tail=5, grep=b"needle") == [b"needle"]
    assert await texts(log.paths, tail=5, grep=b"needle") == [b"needle"] * 2


async def test_a_follower_with_a_search_gets_what_matches_alone(log):
    log.write(b"needle 1\n")
    found = []

    async def follow():
        async for batch in LogReader(log.paths, Search(step_bytes=100)).read(
            LogQuery(SERVICE, follow=True, grep=b"needle")
        ):
            found.extend(line.line for line in batch.lines)

    following = asyncio.create_task(follow())
    await wait_until_async(lambda: found == [b"needle 1"])
    for _ in range(100):
        log.write(b"straw straw\n")
    log.write(b"needle 2\n")
    await wait_until_async(lambda: found == [b"needle 1", b"needle 2"])
    shutil.rmtree(log.paths.logs(SERVICE))
    await following


async def test_bytes_come_back_as_they_were_written(log):
    log.write(b"\xff\x00\x1b[31m\r\n\n")
    assert await texts(log.paths) == [b"\xff\x00\x1b[31m\r", b""]


async def test_long_lines_come_in_pieces_and_big_batches_are_cut(log):
    log.write(b"x" * (LINE_LIMIT + 1) + b"\n")
    log.write((b"y" * 4000 + b"\n") * 60)
    lines = await read(log.paths)
    assert is_whole(lines)
    assert [len(line.line) for line in lines[:2]] == [LINE_LIMIT, 1]
    assert len(lines) == 62


async def test_a_raw_file_that_was_cut_or_deleted_is_a_gap_and_never_other_bytes(log):
    raw = log.write(b"one\ntwo\n")
    log.write(b"kept\n", release=2)
    raw.write_bytes(b"new\nnew\n")
    gap, kept = await read(log.paths)
    assert (gap.seq, gap.gap_to, gap.line) == (1, 2, b"")
    assert kept.line == b"kept"
    raw.unlink()
    assert (await read(log.paths))[0].gap_to == 2


async def test_a_damaged_entry_is_a_gap_with_the_right_count(log):
    log.write(b"one\n")
    log.write(b"two\nthree\n")
    log.write(b"four\n")
    with log.paths.log_index(SERVICE).open("r+b") as file:
        file.seek(SIZE + 5)
        file.write(b"\xff")
    assert [(line.seq, line.gap_to, line.line) for line in await read(log.paths)] == [
        (1, 0, b"one"),
        (2, 3, b""),
        (4, 0, b"four"),
    ]


async def test_a_follower_waits_for_a_log_gets_new_lines_and_ends_when_it_is_deleted(log):
    shutil.rmtree(log.paths.logs(SERVICE))
    found, caught_up = [], []

    async def follow():
        async for batch in LogReader(log.paths).read(LogQuery(SERVICE, follow=True)):
            found.extend(line.line for line in batch.lines)
            caught_up.append(batch.caught_up)

    following = asyncio.create_task(follow())
    log.paths.logs(SERVICE).mkdir()
    for number in range(1, 6):
        log.write(b"%d\n" % number)
        await wait_until_async(lambda number=number: found == [b"%d" % n for n in range(1, number + 1)])
    assert caught_up.count(True) == 1
    shutil.rmtree(log.paths.logs(SERVICE))
    async with asyncio.timeout(20):
        await following


async def test_a_hundred_followers_share_one_kernel_queue(log):
    log.write(b"old\n")
    reader, got = LogReader(log.paths), []

    async def follow():
        async for batch in reader.read(LogQuery(SERVICE, tail=0, follow=True)):
            got.extend(batch.lines)

    before = kernel_queues()
    tasks = [asyncio.create_task(follow()) for _ in range(100)]
    await wait_until_async(lambda: kernel_queues() == before + 1)
    log.write(b"new\n")
    await wait_until_async(lambda: len(got) == 100)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert kernel_queues() == before


def kernel_queues():
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue
    return links.count("anon_inode:inotify")


# what is written


async def test_numbers_go_on_over_restarts_releases_and_builds(host, client):
    await client.run_job(a_job("echo built"))
    await client.start(a_process("echo up; sleep 0.1; echo down; exit 1"))

    async def restarted():
        (found,) = await client.processes()
        return found.restarts >= 2

    await wait_until_async(restarted)
    await client.stop(a_process().id, 5.0)
    lines = await read(host.paths)
    assert is_whole(lines)
    assert lines[0].seq == 1
    assert [line.line for line in lines[:5]] == [b"built", b"up", b"down", b"up", b"down"]
    assert (await client.run_job(a_job("echo again"))).last_lines == ("again",)
    assert is_whole(await read(host.paths))


async def test_no_line_is_lost_or_numbered_twice_when_the_supervisor_is_killed(host, client):
    started = await client.start(a_process(host.script("app.py", COUNTER)))
    for _ in range(5):
        size = await wait_for_more(host, 100)
        host.kill()
        await wait_for_raw(host, 100)
        host.start()
        await reach(host, client)
    await wait_for_more(host, size)
    host.kill()
    os.kill(started.pid, 9)
    host.start()
    await reach(host, client)

    async def all_indexed():
        raw = host.paths.log_file(SERVICE, "web.1", 1, "stdout").read_bytes()
        lines = await read(host.paths, tail=10**6)
        return lines if [line.line for line in lines if line.line] == raw.split(b"\n")[:-1] else None

    await client.stop(started.id, 5.0)
    lines = await wait_until_async(all_indexed)
    assert is_whole(lines)
    assert lines[0].seq == 1


async def wait_for_more(host, count):
    """Until the index has `count` more lines; how many it has then."""
    index = host.paths.log_index(SERVICE)

    def indexed():
        found = log_index.unpack_all(index.read_bytes()) if index.exists() else []
        return found[-1].next_seq if found and found[-1] else 1

    goal = indexed() + count
    await wait_until_async(lambda: indexed() >= goal)
    return indexed()


async def wait_for_raw(host, count):
    raw = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    goal = raw.stat().st_size + count
    await wait_until_async(lambda: raw.stat().st_size >= goal)


async def test_a_torn_end_of_the_index_is_mended_and_nothing_is_numbered_twice(host, client):
    await client.run_job(a_job("echo one; echo two"))
    host.kill()
    index = host.paths.log_index(SERVICE)
    whole = index.read_bytes()
    index.write_bytes(whole + whole[:33])
    host.start()
    await reach(host, client)
    await client.run_job(a_job("echo three"))
    lines = await read(host.paths)
    assert [line.line for line in lines] == [b"one", b"two", b"three"]
    assert is_whole(lines)


async def test_what_a_damaged_last_entry_stood_for_is_numbered_again(host, client):
    await client.run_job(a_job("echo one"))
    host.kill()
    index = host.paths.log_index(SERVICE)
    index.write_bytes(index.read_bytes()[:-1] + b"\x00")
    host.start()
    await wait_until_async(lambda: index.stat().st_size == SIZE and log_index.unpack(index.read_bytes()))
    assert [line.line for line in await read(host.paths)] == [b"one"]


async def test_a_line_without_newline_is_shown_after_a_while_and_at_the_end(host, client):
    await client.start(a_process("printf 'name? '; exec sleep 1000"))

    async def shown():
        return await texts(host.paths) == [b"name? "]

    await wait_until_async(shown)
    await client.run_job(a_job("printf done"))
    assert await texts(host.paths, source="build") == [b"done"]


async def test_a_line_of_ten_mebibytes_comes_in_pieces_of_sixteen_kibibytes(host, client):
    await client.run_job(a_job("head -c 10485760 /dev/zero | tr '\\0' x; echo; echo end"))
    lines = await read(host.paths, tail=10_000)
    assert is_whole(lines)
    assert b"".join(line.line for line in lines) == b"x" * 10485760 + b"end"
    assert max(len(line.line) for line in lines) <= LINE_LIMIT
    assert len(lines) == 641


async def test_a_hundred_thousand_lines_are_all_there_in_order(host, client):
    result = await client.run_job(a_job("seq 1 100000"))
    assert result.last_lines[-1] == "100000"
    lines = await read(host.paths, tail=10**6)
    assert is_whole(lines)
    assert [line.line for line in lines] == [b"%d" % number for number in range(1, 100_001)]


@pytest.mark.parametrize("then", ["late", "what comes late is longer than what was there"])
async def test_an_app_that_cuts_its_own_log_loses_those_lines_and_one_number_for_what_nobody_saw(host, client, then):
    command = f'echo early; while [ ! -e go ]; do sleep 0.02; done; : > "$LOG"; echo {then}; exec sleep 1000'
    raw = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    await client.start(a_process(command, env=(("LOG", str(raw)),)))

    async def early():
        return await texts(host.paths) == [b"early"]

    await wait_until_async(early)
    (host.tree / "go").touch()

    async def late():
        return then.encode() in await texts(host.paths)

    await wait_until_async(late)
    lines = await read(host.paths)
    assert [(line.seq, line.gap_to, line.line) for line in lines] == [(1, 2, b""), (3, 0, then.encode())]


async def test_a_forgotten_service_has_no_log_and_a_new_one_begins_at_one(host, client):
    await client.run_job(a_job("echo one"))
    await client.forget(SERVICE)
    assert not host.paths.logs(SERVICE).exists()
    await client.run_job(a_job("echo two"))
    assert [(line.seq, line.line) for line in await read(host.paths)] == [(1, b"two")]


async def test_lines_that_were_written_while_no_supervisor_ran_are_marked_as_late_with_the_time_of_their_file(
    host, client
):
    started = await client.start(a_process(host.script("app.py", COUNTER)))
    await wait_for_more(host, 10)
    host.kill()
    await wait_for_raw(host, 100)
    os.kill(started.pid, signal.SIGKILL)
    os.utime(host.paths.log_file(SERVICE, "web.1", 1, "stdout"), (1000.0, 1000.0))
    host.start()
    await reach(host, client)
    await client.stop(started.id, 5.0)
    entries = log_index.unpack_all(host.paths.log_index(SERVICE).read_bytes())
    late = [entry for entry in entries if entry.late]
    assert [entry.time for entry in late] == [1000.0] * len(late)
    assert late
    assert not entries[0].late


async def test_a_flood_stays_within_the_limits_that_the_supervisor_was_given(host):
    host.start("--log-limits", "2,100,30")
    client = SupervisorClient(host.paths)
    await client.connect(20)
    assert dict((await client.hello()).capabilities)["log_space"] == "holes"
    await client.run_job(a_job("seq 1 2000000"))  # 14 MB

    def used():
        return sum(file.stat().st_blocks * 512 for file in host.paths.logs(SERVICE).iterdir())

    await wait_until_async(lambda: used() <= 2 << 20)
    gap, *lines = await read(host.paths, tail=10**7)
    assert (gap.seq, gap.gap_to) == (1, lines[0].seq - 1)
    assert [line.line for line in lines] == [b"%d" % line.seq for line in lines]
    assert lines[-1].seq == 2_000_000
    await client.close()


def test_limits_of_logs_that_are_none_end_the_supervisor_with_an_example(host):
    process = host.start("--log-limits", "512")
    assert process.wait() != 0
    assert "512,4096,30" in host.output.read_text()
