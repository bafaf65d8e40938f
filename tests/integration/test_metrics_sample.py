"""The sampler on this very machine."""

import json
import os
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families

from node_agent.clock import SystemClock
from node_agent.metrics.sample import HostSampler
from node_agent.model.process import ProcessId, ProcessStatus
from tests.waiting import wait_until

SERVICE = "svc_00000000000000000000000001"
BUSY = "import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', 'while True: pass']); print(c.pid, flush=True); c.wait()"


def a_process(pid, release=1, restarts=0):
    return ProcessStatus(ProcessId(SERVICE, release, 0, "web.1"), "running", pid, 20001, 1.0 * pid, restarts, "")


@pytest.fixture
def busy():
    """A process that sleeps, with a child that works."""
    process = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    yield process
    os.killpg(process.pid, 9)
    process.wait()
    process.stdout.close()


def service_of(sample):
    return json.loads(sample.families_json)["services"][SERVICE]


def test_the_facts_name_the_host():
    hostname, system, cpus, memory, disk, addresses = HostSampler(SystemClock()).facts()
    assert hostname
    assert system
    assert cpus >= 1
    assert memory > 1 << 20
    assert disk > 1 << 20
    assert not any(address.startswith("127.") for address in addresses)


def test_cpu_is_what_happened_since_the_last_look():
    sampler = HostSampler(SystemClock())
    found = wait_until(lambda: json.loads(sampler.sample((), {}).families_json)["cpu"], what="a tick of the processor")
    assert 99 < sum(found.values()) < 101


def test_a_service_is_its_whole_process_tree(busy):
    sampler = HostSampler(SystemClock())
    first = service_of(sampler.sample((a_process(busy.pid, restarts=3),), {}))
    assert first["processes"] == 2
    assert first["restarts"] == 3
    assert first["rss_bytes"] > 1 << 20
    assert first["fds"] > 2
    assert first["threads"] >= 2
    assert first["cpu_percent"] == 0.0  # nothing to compare with yet
    assert [(one["cpu_percent"], one["rss_bytes"]) for one in first["members"]] == [(0.0, first["rss_bytes"])]

    def grown():
        again = service_of(sampler.sample((a_process(busy.pid),), {}))
        return again["cpu_seconds"] > first["cpu_seconds"] and again["cpu_percent"] > 0

    wait_until(grown, what="work of the child")


def test_what_a_service_used_only_grows_when_its_processes_change(busy):
    sampler = HostSampler(SystemClock())
    wait_until(lambda: service_of(sampler.sample((a_process(busy.pid),), {}))["cpu_seconds"] > 0.2)
    before = service_of(sampler.sample((a_process(busy.pid),), {}))["cpu_seconds"]
    after = service_of(sampler.sample((a_process(os.getpid(), release=2),), {}))["cpu_seconds"]
    assert after >= before
    assert service_of(sampler.sample((a_process(0, release=2),), {}))["cpu_seconds"] == after


def test_a_process_that_is_gone_is_no_error():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    found = service_of(HostSampler(SystemClock()).sample((a_process(gone.pid), a_process(0)), {}))
    assert (found["processes"], found["fds"], found["rss_bytes"]) == (0, None, 0)


def test_the_exposition_of_this_host_parses():
    text = HostSampler(SystemClock()).sample((a_process(os.getpid()),), {}).exposition
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"dployr_host_cpu_seconds", "dployr_host_memory_bytes", "dployr_service_cpu_seconds"} <= names
