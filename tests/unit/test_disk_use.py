"""What an agent tells of its disk, read as a stranger's data."""

import pytest

from control_plane.domain import disk_use, values

TOLD = {
    "total_bytes": 100,
    "free_bytes": 40,
    "total_inodes": 10,
    "free_inodes": 4,
    "reserve_bytes": 5,
    "reserve_inodes": 1,
    "measured_at": 7.5,
    "shared": {"toolchains": {"bytes": 9, "entries": 2}},
    "services": {
        "svc_small": {"logs": {"bytes": 1, "entries": 1}},
        "svc_large": {"logs": {"bytes": 2, "entries": 1}, "releases": {"bytes": 30, "entries": 5}},
    },
}


def read(**families):
    return disk_use.of(values.Sample("ins_1", 8.0, families, ""))


def test_the_largest_service_comes_first_with_the_sum_of_its_parts():
    found = read(disk_use=TOLD)
    assert [one.service_id for one in found.services] == ["svc_large", "svc_small"]
    assert found.services[0].whole == disk_use.Use(32, 6)
    assert found.shared == {"toolchains": disk_use.Use(9, 2)}
    assert (found.space["free_bytes"], found.space["reserve_inodes"], found.measured_at) == (40, 1, 7.0)


def test_an_agent_that_does_not_tell_of_its_disk_has_told_nothing():
    assert read() is None


@pytest.mark.parametrize(
    "nonsense", [None, "x", -7, [], {"bytes": -1}, {"bytes": "9"}, {"bytes": 1e400}, {"bytes": True}]
)
def test_what_is_no_number_counts_as_nothing(nonsense):
    found = read(disk_use={**TOLD, "free_bytes": nonsense, "measured_at": nonsense, "shared": {"caches": nonsense}})
    assert (found.space["free_bytes"], found.measured_at, found.shared["caches"]) == (0, 0.0, disk_use.Use())
    assert read(disk_use={**TOLD, "services": nonsense}).services == () or isinstance(nonsense, dict)


def test_only_so_many_services_and_parts_are_read_and_names_are_cut():
    many = {f"svc_{number}": {} for number in range(disk_use.MAX_SERVICES + 1)}
    parts = {"p" * 1000 + str(number): {"bytes": 1, "entries": 1} for number in range(disk_use.MAX_PARTS + 1)}
    found = read(disk_use={"services": many, "shared": parts})
    assert len(found.services) == disk_use.MAX_SERVICES
    assert list(found.shared) == ["p" * disk_use.MAX_NAME]
