"""Rates and process trees from values alone, and both ways of telling a sample."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some
from prometheus_client.parser import text_string_to_metric_families

from node_agent.metrics import exposition, families, rates, trees
from node_agent.metrics.reading import Disk, DiskIo, Host, Interface, Member, Memory, Service, Swap, Tree

HOST = Host(
    cpu={"user": 10.0, "system": 5.0, "idle": 85.0},
    cpus=2,
    load=(0.5, 0.25, 0.125),
    memory=Memory(1000, 600, 300, 200, 350, 50),
    swap=Swap(100, 10),
    disks=(Disk("/", "/dev/vda", "ext4", 5000, 1000, 3500),),
    disk_io=DiskIo(100, 200, 3, 4),
    network=(Interface("eth0", 1000, 2000, 10, 20, 1, 2, 3, 4),),
    boot_time=1_700_000_000.0,
)
SERVICE = Service(12.5, 50.0, 4096, 7, 9, 2, 1)


def test_cpu_is_the_share_of_what_was_spent_in_between():
    after = {"user": 11.0, "system": 5.0, "idle": 88.0}
    assert rates.shares(HOST.cpu, after) == {"user": 25.0, "system": 0.0, "idle": 75.0}


def test_when_no_time_passed_there_is_no_share():
    assert rates.shares(HOST.cpu, HOST.cpu) == {}


def test_a_counter_that_went_back_counts_nothing():
    assert rates.per_second(100.0, 5.0, 10.0) == 0.0


def test_no_time_is_no_rate():
    assert rates.per_second(1.0, 5.0, 0.0) == 0.0


def test_a_new_interface_has_no_rate_yet():
    new = dataclasses.replace(HOST.network[0], name="eth1", received_bytes=10**9)
    grown = dataclasses.replace(HOST.network[0], received_bytes=1500)
    found = rates.rates(HOST, dataclasses.replace(HOST, network=(grown, new)), 10.0)
    assert found.received_bytes == {"eth0": 50.0, "eth1": 0.0}


def test_disks_that_cannot_be_read_have_no_rate():
    assert rates.rates(dataclasses.replace(HOST, disk_io=None), HOST, 10.0).disk_read_bytes == 0.0


def test_what_a_service_spent_never_counts_a_process_twice_or_below_zero():
    assert rates.spent({"a": 5.0, "b": 7.0}, {"a": 6.0, "c": 2.0}) == 3.0
    assert rates.spent({"a": 5.0}, {"a": 1.0}) == 0.0


@given(
    some.dictionaries(some.sampled_from("abc"), some.floats(0, 1e9)),
    some.dictionaries(some.sampled_from("abc"), some.floats(0, 1e9)),
)
def test_shares_are_percent_of_a_whole(before, after):
    found = rates.shares(before, after)
    assert not found or sum(found.values()) == pytest.approx(100.0)
    assert all(value >= 0 for value in found.values())


def test_a_tree_has_its_descendants_and_its_session():
    parents = {1: 0, 10: 1, 11: 10, 12: 11, 20: 1, 21: 1, 30: 1}
    sessions = {10: 10, 11: 10, 12: 12, 20: 20, 21: 20, 30: 30}
    assert trees.members({10, 20}, parents, sessions) == {10: 10, 11: 10, 12: 10, 20: 20, 21: 20}


def test_a_tree_whose_root_is_gone_is_left_out():
    assert trees.members({10}, {1: 0, 11: 1}, {11: 10}) == {}


def test_a_process_below_another_root_belongs_to_the_nearest():
    assert trees.members({10, 11}, {10: 1, 11: 10, 12: 11}, {}) == {10: 10, 11: 11, 12: 11}


@given(some.dictionaries(some.integers(1, 30), some.integers(0, 30)), some.sets(some.integers(1, 30)))
def test_every_member_is_a_process_and_every_owner_a_root(parents, roots):
    found = trees.members(roots, parents, {})
    assert set(found) <= set(parents)
    assert set(found.values()) == roots & set(parents)


def test_descriptors_that_may_not_be_counted_are_unknown_not_zero():
    hidden, seen = Tree(1.0, 10, 1, None, 1), Tree(2.0, 20, 2, 5, 1)
    assert trees.together([hidden]).fds is None
    assert trees.together([hidden, seen]) == Tree(3.0, 30, 3, 5, 2)


def test_the_json_has_every_family():
    with_member = dataclasses.replace(SERVICE, members=(Member(4711, 12.345678, 2048),))
    told = json.loads(
        families.encode(5.0, HOST, rates.rates(HOST, HOST, 1.0), {"svc_1": with_member}, {"free_bytes": 7})
    )
    assert told["time"] == 5.0
    assert told["load"] == [0.5, 0.25, 0.12]
    assert told["memory"]["available_bytes"] == 600
    assert told["disks"][0]["mount"] == "/"
    assert told["disk_use"] == {"free_bytes": 7}
    assert told["disk_io"]["read_bytes_per_second"] == 0.0
    assert told["network"][0]["name"] == "eth0"
    assert told["services"]["svc_1"] == {
        "cpu_seconds": 12.5,
        "cpu_percent": 50.0,
        "rss_bytes": 4096,
        "threads": 7,
        "fds": 9,
        "processes": 2,
        "members": [{"pid": 4711, "cpu_percent": 12.35, "rss_bytes": 2048}],
        "restarts": 1,
    }


def _samples(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_exposition_parses_to_the_same_values():
    found = _samples(exposition.encode(HOST, {"svc_1": SERVICE}))
    assert found["dployr_host_cpu_seconds_total", "idle"] == 85.0
    assert found[("dployr_host_memory_bytes",)] == 1000
    assert found["dployr_host_filesystem_available_bytes", "/dev/vda", "ext4", "/"] == 3500
    assert found["dployr_host_network_receive_bytes_total", "eth0"] == 1000
    assert found["dployr_service_cpu_seconds_total", "svc_1"] == 12.5
    assert found["dployr_service_resident_memory_bytes", "svc_1"] == 4096
    assert found["dployr_service_open_fds", "svc_1"] == 9


def test_names_and_types_follow_the_conventions():
    for family in text_string_to_metric_families(exposition.encode(HOST, {"svc_1": SERVICE})):
        assert family.documentation
        assert family.name.startswith(("dployr_host_", "dployr_service_"))
        assert family.type in {"counter", "gauge"}
        assert all(sample.name.endswith("_total") == (family.type == "counter") for sample in family.samples)


def test_labels_are_escaped():
    odd = dataclasses.replace(HOST, disks=(Disk('/a"b\\c\nd', "x", "ext4", 1, 1, 1),))
    assert _samples(exposition.encode(odd, {}))["dployr_host_filesystem_size_bytes", "x", "ext4", '/a"b\\c\nd'] == 1
