"""A program that ends at once, for an hour of the supervisor's clock: real processes, injected time."""

import os
import pathlib

import pytest

from node_agent.model.process import Unwell
from node_agent.model.process_state import State
from node_agent.supervisor import ladder, serving
from node_agent.supervisor.loop import Loop
from node_agent.supervisor.processes import Processes
from node_agent.supervisor.server import Server
from tests.supervisor_host import SupervisorHost, a_process

HOUR_S = 3600.0
RESTARTS = 500


class SteppedClock:
    """Stands still unless it is moved on."""

    def __init__(self):
        self.seconds = 1000.0

    def monotonic(self):
        return self.seconds

    def now(self):
        return 1.7e9 + self.seconds


class Supervision:
    """The supervisor's own parts in this process, turned by hand."""

    def __init__(self, paths, clock):
        self.clock, self.loop = clock, Loop(clock)
        paths.records.mkdir()
        cages = ladder.open_cages(paths.root)
        self.host = serving.build_host(paths, self.loop, clock, Server(self.loop, paths), "boot", cages)
        self.processes = Processes(self.host)

    @property
    def status(self):
        (found,) = self.processes.statuses()
        return found

    def turn_until(self, condition):
        for _ in range(2000):
            if condition():
                return
            self.loop.turn(0.01)
            self.host.children.reap()
        raise AssertionError("it did not come true")


@pytest.fixture
def supervision(tmp_path):
    host = SupervisorHost(tmp_path)
    yield Supervision(host.paths, SteppedClock())
    host.close()


def test_a_crash_loop_waits_longer_and_longer_and_is_never_given_up(supervision):
    clock, waits, states = supervision.clock, [], []
    supervision.processes.start(a_process("exec /bin/false"))
    until = clock.seconds + HOUR_S
    while clock.seconds < until:
        lives = supervision.status.restarts + 1
        supervision.turn_until(lambda lives=lives: ended(supervision, lives))
        if supervision.status.restarts >= lives:  # started again at once
            waits.append(0.0)
            continue
        states.append(supervision.status.state)
        began = clock.seconds
        while supervision.status.restarts < lives:
            clock.seconds += 0.25
            supervision.loop.turn(0.0)
        waits.append(clock.seconds - began)
    assert waits[0] == 0.0
    for number, wait in enumerate(waits[1:]):
        longest = min(60.0, 2.0**number)
        assert longest * 0.75 <= wait <= longest + 0.25
    assert states[:3] == [State.BACKOFF.value] * 3
    assert set(states[4:]) == {State.CRASH_LOOPING.value}
    assert supervision.status.restarts >= HOUR_S / 61
    supervision.processes.stop(a_process().id, 0.0, lambda: None)
    supervision.turn_until(lambda: not supervision.processes.statuses())
    supervision.host.children.reap()


def test_a_process_that_is_never_healthy_crash_loops_although_each_of_its_lives_lasts_long(supervision):
    process, clock, states = a_process("exec sleep 1000"), supervision.clock, []
    supervision.processes.start(process)
    for lives in range(1, 7):
        supervision.turn_until(lambda: supervision.status.state == "running" or move(clock, 0.1))
        clock.seconds += 300.0
        supervision.processes.replace(process.id, Unwell(supervision.status.pid, "it answered 500 twice"), 10.0)
        supervision.turn_until(lambda lives=lives: ended(supervision, lives))
        states.append(supervision.status.state)
        supervision.turn_until(lambda lives=lives: supervision.status.restarts >= lives or move(clock, 0.5))
    assert states[1:] == [State.BACKOFF.value] * 3 + [State.CRASH_LOOPING.value] * 2
    assert supervision.status.last_exit == "unhealthy: it answered 500 twice"
    supervision.processes.stop(process.id, 0.0, lambda: None)
    supervision.turn_until(lambda: not supervision.processes.statuses())


def move(clock, seconds):
    clock.seconds += seconds


def test_five_hundred_restarts_are_waited_for_and_leave_nothing_behind(supervision):
    process, clock = a_process("echo its last words; exit 3"), supervision.clock
    supervision.processes.start(process)
    sizes, began = {}, clock.seconds
    for lives in range(1, RESTARTS + 1):
        supervision.turn_until(lambda lives=lives: ended(supervision, lives))
        if lives in {20, RESTARTS}:
            supervision.turn_until(lambda: supervision.status.last_lines == ("its last words",))
            sizes[lives] = held(supervision)
        while lives < RESTARTS and supervision.status.restarts < lives:
            clock.seconds += 1.0
            supervision.loop.turn(0.0)
    status = supervision.status
    assert (status.state, status.last_exit) == (State.CRASH_LOOPING.value, "exited(3)")
    assert status.restarts == RESTARTS - 1
    assert clock.seconds - began > 45.0 * (RESTARTS - 10), "it did not wait"
    assert sizes[RESTARTS][1:] == sizes[20][1:]
    assert sizes[RESTARTS][0] <= sizes[20][0], "descriptors grow"  # fewer: an earlier test's were collected meanwhile
    supervision.processes.stop(process.id, 0.0, lambda: None)
    supervision.turn_until(lambda: not supervision.processes.statuses())


def held(supervision):
    """Descriptors, children, and files of the supervisor."""
    children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    records = sorted(entry.name for entry in supervision.host.paths.records.iterdir())
    return len(os.listdir("/proc/self/fd")), len(children), records


def ended(supervision, lives):
    """Was the end of this life seen, or is the next one there?"""
    status = supervision.status
    return status.restarts >= lives or not status.pid
