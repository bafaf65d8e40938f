"""What a burst waits for, and works beside the loop."""

import _thread
import os
import subprocess
import sys
import tempfile
import threading

import pytest

from node_agent.clock import SystemClock
from node_agent.model.log_index import Source
from node_agent.model.log_space import MIB, Budgets
from node_agent.supervisor import background as threads
from node_agent.supervisor.background import Background
from node_agent.supervisor.cages_v2 import CageV2
from node_agent.supervisor.log_floods import Floods
from node_agent.supervisor.loop import Loop
from node_agent.supervisor.raw_writers import Watched
from tests.supervisor_host import REPOSITORY
from tests.waiting import wait_until

BUDGETS = Budgets(service_bytes=64 * MIB)
IN_A_ROOM = """
import pathlib, sys, threading
from node_agent.supervisor.rooms import Rooms
room, ends = Rooms().room(sys.argv[1]), threading.Event()
threading.Thread(target=ends.wait).start()
try:
    with room.entered():
        pathlib.Path("/tmp/made").touch()
finally:
    ends.set()
"""


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def now(self) -> float:
        return self.now_s


class Burst:
    """Three files of two services that grow; `turns` are the files that got one since it was asked for."""

    def __init__(self, directory) -> None:
        self.clock, self.directory = Clock(), directory
        self.loop = Loop(self.clock)
        self.got, self.grown = [], {"svc_a": 0, "svc_b": 0}
        self.floods = Floods(self.loop, BUDGETS, lambda watched: self.got.append(watched.source.process), self.grow)
        self.files = {
            name: Watched(service_id, Source(name, 1, "stdout"), os.open(directory / name, os.O_RDWR | os.O_CREAT))
            for service_id, name in (("svc_a", "one"), ("svc_a", "two"), ("svc_b", "three"))
        }

    def grow(self, service_id, size) -> None:
        self.grown[service_id] += size

    def write(self, name, size) -> None:
        os.ftruncate(self.files[name].fd, os.fstat(self.files[name].fd).st_size + size)

    def turns(self) -> list[str]:
        self.got.clear()
        self.clock.now_s += 1.0
        self.loop.turn(0.0)
        return list(self.got)


@pytest.fixture
def burst(tmp_path):
    made = Burst(tmp_path)
    for watched in made.files.values():
        made.floods.add(watched)
    yield made
    for watched in made.files.values():
        os.close(watched.fd)


def test_while_a_burst_grows_its_files_have_one_turn_after_the_other(burst):
    got = []
    for _ in range(4):
        burst.write("two", MIB)
        got += burst.turns()
    assert got == ["one", "two", "three", "one"]
    assert burst.grown == {"svc_a": 4 * MIB, "svc_b": 0}


def test_a_service_with_too_much_behind_waits_no_longer_and_another_still_does(burst):
    burst.write("one", 9 * MIB)
    assert burst.turns() == ["one", "two", "three"]
    burst.got.clear()
    burst.floods.add(burst.files["one"])  # had its turn, and more waits
    burst.floods.add(burst.files["three"])
    assert burst.got == ["one"]


def test_once_nothing_grows_everything_goes_on(burst):
    burst.write("one", MIB)
    assert len(burst.turns()) == 1
    assert sorted(burst.turns()) == ["one", "three", "two"]


def test_what_is_numbered_is_not_looked_at_any_more(burst):
    for watched in burst.files.values():
        burst.floods.discard(watched)
    assert burst.turns() == burst.turns() == []


def test_works_with_one_key_follow_each_other_and_the_newest_stands_for_those_that_wait():
    loop = Loop(SystemClock())
    background, may_end, told = Background(loop), threading.Event(), []
    background.do("file", may_end.wait, lambda: told.append(1))
    background.do("file", lambda: told.append("never"), lambda: told.append(2))
    background.do("file", lambda: told.append("newest"), lambda: told.append(3))
    background.do("other", lambda: told.append("other"), lambda: None)
    wait_until(lambda: told == ["other"], what="the work with another key")
    may_end.set()

    def all_done():
        loop.turn(0.01)
        return 3 in told

    wait_until(all_done, what="all works")
    assert told == ["other", 1, "newest", 2, 3]


def test_a_work_waits_while_the_host_has_no_thread_for_it(monkeypatch):
    clock = Clock()
    loop, told, start = Loop(clock), [], _thread.start_new_thread
    background = Background(loop)

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    background.do("file", lambda: told.append("never"), lambda: told.append("done"))
    background.do("file", lambda: told.append("worked"), lambda: told.append("also done"))
    monkeypatch.setattr(_thread, "start_new_thread", start)

    def all_done():
        clock.now_s += 1.0
        loop.turn(0.01)
        return told == ["worked", "done", "also done"]

    wait_until(all_done, what="the work")


@pytest.mark.skipif(os.geteuid() != 0, reason="a room is a mount namespace, which only root makes")
def test_a_room_is_entered_also_while_a_thread_is_at_work():
    with tempfile.TemporaryDirectory(prefix="dployr-room-", dir="/run") as place:  # seen there too: not below /tmp
        command = [sys.executable, "-c", IN_A_ROOM, place]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert os.listdir(place) == ["made"]


def test_our_threads_are_not_counted_among_the_processes_of_what_is_started(tmp_path):
    """In files instead of a control group v2, where a process moves with all its threads."""
    for name, text in (("cgroup.procs", ""), ("home", ""), ("pids.max", "2\n"), ("cpu.max", "20000 100000\n")):
        (tmp_path / name).write_text(text)
    home = os.open(tmp_path / "home", os.O_WRONLY)
    try:
        with CageV2(home, str(tmp_path), ("cpu", "pids")).entered():
            assert (tmp_path / "pids.max").read_text().split() == [str(2 + threads.MOST + 1)]
            assert (tmp_path / "cpu.max").read_text().startswith("max")
    finally:
        os.close(home)
    assert (tmp_path / "pids.max").read_text().split() == ["2"]
