"""Whoever is killed, and whenever: the applications that live go on, each runs once, nothing else is left, and their logs
hold every line.

A real agent and a real supervisor are killed at random, and the applications too, while these write numbered lines. The
oracle (tests/oracle) judges. There is little room for logs: they are cut in the storm, and compressed after it. STORM_SEED replays the choices; TEST_ALL=1 kills 300 times among 20 services.
"""

import os
import random
import secrets

import pytest

from tests import storm_fixtures
from tests.oracle import processes
from tests.waiting import wait_until

ALL = bool(os.environ.get("TEST_ALL"))
KILLS, SERVICES = (300, 20) if ALL else (15, 6)
LIMIT = 1 << 20  # of the log of a service
PARTS = ("supervisor", "agent")


@pytest.fixture
def chance():
    seed = os.environ.get("STORM_SEED") or secrets.token_hex(4)
    print(f"STORM_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
async def host(tmp_path):
    made = storm_fixtures.Host(tmp_path, SERVICES, "--log-limits", f"{LIMIT >> 20},1000,30")
    try:
        await made.begin()
        yield made
    finally:
        made.close()


class Storm:
    """One kill after the other; the applications' own progress is its clock."""

    def __init__(self, host, chance):
        self.host, self.chance = host, chance
        self.expected = {}  # the pid of each application that nobody killed since it was written down

    def lines(self):
        return sum(self.host.counted(service_id) for service_id in self.host.services)

    def strike(self):
        victim = self.chance.choice((*PARTS, "both", "application", "application", "child"))
        service_id = self.chance.choice(self.host.services)
        applications, children = self.host.running()[service_id]
        for name in PARTS:
            if victim in {name, "both"}:
                self.host.kill(name)
        if victim == "application":
            self.expected.pop(service_id, None)
            kill_all(applications)
        elif victim == "child":
            kill_all(children)

    def look(self):
        """No application runs twice or beside what a former life left, and what nobody killed is what it was."""
        for service_id, (pids, children) in self.host.running().items():
            assert len(pids) < 2, f"{service_id} runs as {pids}"
            assert len(children) < 2, f"{service_id} has the children {children}"
            if service_id in self.expected:
                assert pids == [self.expected[service_id]], f"{service_id} was {self.expected[service_id]}, is {pids}"
            elif pids and self.host.recorded(service_id) == pids[0]:
                self.expected[service_id] = pids[0]

    def progressed(self, since, wanted):
        self.host.keep()
        self.look()
        return self.lines() >= since + wanted


def kill_all(pids):
    for pid in pids:
        storm_fixtures.kill(pid)


@pytest.mark.timeout(1800 if ALL else 180)
async def test_whoever_is_killed_no_line_is_lost_no_application_doubled_and_nothing_left(host, chance):
    storm = Storm(host, chance)
    for _ in range(KILLS):
        storm.strike()
        since, wanted = storm.lines(), chance.choice((0, 10, 40, 200))
        wait_until(lambda: storm.progressed(since, wanted), 120, "more lines")  # noqa: B023

    wait_until(lambda: (host.keep(), storm.look(), len(storm.expected) == SERVICES)[-1], 120, "all applications")
    before = {service_id: host.counted(service_id) for service_id in host.services}
    wait_until(lambda: all(host.counted(each) > before[each] + 20 for each in host.services), 60, "the lines of all")
    wait_until(
        lambda: all(host.written(each) > LIMIT * 3 // 2 for each in host.services), 120, "more than there is room"
    )
    storm.look()
    host.end()

    assert processes.of(host.paths.root) == []
    assert processes.groups(tuple(host.services)) == []
    verdicts = host.verdicts()
    assert {service_id: found.problems for service_id, found in verdicts.items() if found.problems} == {}
    assert all(len(found.lines) + found.gaps > before[service_id] for service_id, found in verdicts.items())
    assert all(found.is_cut for found in verdicts.values())
    host.compress()
    again = host.verdicts()
    assert {service_id: found.problems for service_id, found in again.items() if found.problems} == {}
    assert all(found.blocks for found in again.values())
    assert {each: found.lines for each, found in again.items()} == {
        each: found.lines for each, found in verdicts.items()
    }
