"""Room on the disk: what a build needs, when it is looked at, which caches go, and what is said."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.model import disk
from node_agent.model.disk import DAY_S, GIB, MIB, Budgets, Space, Use

SERVICE, OTHER = "svc_" + "0" * 26, "svc_" + "1" * 26
NOW = 100 * DAY_S
MIRROR = f"cache/git/{'a' * 64}"
HOST = Space(total_bytes=40 * GIB, free_bytes=10 * GIB, total_inodes=2_000_000, free_inodes=500_000)


def test_a_twentieth_of_the_disk_is_kept_and_a_gibibyte_at_most():
    assert disk.reserve(HOST, Budgets()) == Use(GIB, 20_000)
    small = Space(1000 * MIB, 0, 10_000, 0)
    assert disk.reserve(small, Budgets()) == Use(50 * MIB, 200)
    assert disk.reserve(small, Budgets(reserve_bytes=7)) == Use(7, 200)


def test_a_build_needs_what_the_last_one_took_and_a_quarter_more_but_a_floor_at_least():
    assert disk.need(None, Budgets()) == Budgets().least
    assert disk.need(Use(400 * MIB, 40_000), Budgets()) == Use(500 * MIB, 50_000)
    assert disk.need(Use(400 * MIB, 4), Budgets()) == Use(500 * MIB, 5_000)


@pytest.mark.parametrize(
    ("free", "inodes", "missing"),
    [(30, 30, None), (29, 30, Use(1, 0)), (30, 28, Use(0, 2)), (0, 0, Use(30, 30))],
)
def test_what_is_kept_counts_as_taken(free, inodes, missing):
    assert disk.missing(Space(100, free, 100, inodes), Use(10, 10), Use(20, 20)) == missing


def test_a_file_system_that_does_not_count_its_inodes_never_lacks_any():
    assert disk.missing(Space(100, 100, 0, 0), Use(), Use(20, 5_000)) is None
    assert disk.reserve(Space(100, 100, 0, 0), Budgets()).entries == 0


@pytest.mark.parametrize(
    ("taken", "inodes", "waited_s", "looks"),
    [
        (0, 0, 0.5, False),
        (50, 0, 0.5, False),
        (51, 0, 0.5, True),
        (0, 6, 0.5, True),
        (-90, 0, 0.5, False),
        (0, 0, 11, True),
    ],
)
def test_a_build_is_measured_when_the_disk_says_that_it_may_be_too_large(taken, inodes, waited_s, looks):
    before, now = Space(1000, 500, 100, 50), Space(1000, 500 - taken, 100, 50 - inodes)
    assert disk.must_look(Use(100, 10), Use(50, 5), before, now, waited_s) is looks


@given(st.integers(0, 200), st.integers(0, 200), st.integers(0, 200))
def test_a_build_alone_on_the_disk_is_never_beyond_its_quota_unseen(known, grown, quota):
    before, now = Space(1000, 500, 0, 0), Space(1000, 500 - grown, 0, 0)
    is_beyond = disk.is_beyond(Use(quota, 1), Use(known + grown, 1))
    assert not is_beyond or disk.must_look(Use(quota, 1), Use(known, 1), before, now, 0.0)


def test_a_build_is_its_tree_its_temporary_files_and_its_own_caches():
    parts = {"builds": 1, "build-home": 2, "build-tmp": 4, "releases": 8, "logs": 16}
    measured = {f"services/{one}/{part}": Use(size, 1) for one in (SERVICE, OTHER) for part, size in parts.items()}
    assert disk.of_build(measured, SERVICE) == Use(7, 3)
    assert disk.services(measured) == {SERVICE, OTHER}


CACHES = {
    "toolchains/node-20.1.0": Use(4 * GIB, 5000, NOW - 40 * DAY_S),
    "toolchains/node-22.1.0": Use(4 * GIB, 5000, NOW - 30 * DAY_S),
    "cache/npm": Use(4 * GIB, 90_000, NOW - 20 * DAY_S),
    MIRROR: Use(GIB, 30, NOW - 15 * DAY_S),
    f"services/{SERVICE}/build-home": Use(GIB, 300, NOW - 3 * DAY_S),
}
NO_CACHES = {
    "toolchains": Use(0, 9, 0.0),
    "toolchains/.new-node-x": Use(9 * GIB, 9, 0.0),
    "cache/git": Use(0, 9, 0.0),
    "cache/git/home": Use(0, 9, 0.0),
    "cache/git/index-x": Use(0, 9, 0.0),
    "agent": Use(GIB, 9, 0.0),
    f"services/{SERVICE}/releases": Use(90 * GIB, 9, 0.0),
    f"services/{SERVICE}/home": Use(90 * GIB, 9, 0.0),
    f"services/{SERVICE}/volumes": Use(90 * GIB, 9, 0.0),
}


def victims(used=(), wanted=disk.NOTHING, budgets=None, **changed):
    measured = {**NO_CACHES, **CACHES, **changed}
    return disk.victims(measured, lambda path: path in used, budgets or Budgets(), NOW, wanted)


def test_caches_that_nobody_used_go_until_all_are_within_their_budget():
    assert victims() == ("toolchains/node-20.1.0",)
    assert victims(budgets=Budgets(caches_bytes=5 * GIB)) == (
        "toolchains/node-20.1.0",
        "toolchains/node-22.1.0",
        "cache/npm",
    )


def test_within_their_budget_the_oldest_caches_stay_and_beyond_it_those_of_this_week():
    assert victims(budgets=Budgets(caches_bytes=14 * GIB)) == ()
    everything_old = victims(budgets=Budgets(caches_bytes=0))
    assert len(everything_old) == 4 and f"services/{SERVICE}/build-home" not in everything_old


def test_what_is_in_use_stays_however_old_it_is_and_the_next_one_goes():
    assert victims(used={"toolchains/node-20.1.0"}) == ("toolchains/node-22.1.0",)


def test_when_room_is_short_caches_go_until_there_is_enough_of_bytes_and_inodes():
    plenty = Budgets(caches_bytes=100 * GIB)
    assert victims(wanted=Use(1, 0), budgets=plenty) == ("toolchains/node-20.1.0",)
    assert victims(wanted=Use(0, 20_000), budgets=plenty) == (
        "toolchains/node-20.1.0",
        "toolchains/node-22.1.0",
        "cache/npm",
    )
    assert len(victims(wanted=Use(1 << 60, 0), budgets=plenty)) == len(CACHES)


def test_a_toolchain_that_was_asked_for_just_now_stays_even_when_room_is_short():
    fresh = {"toolchains/node-20.1.0": Use(4 * GIB, 5000, NOW - 60)}
    assert "toolchains/node-20.1.0" not in victims(wanted=Use(1 << 60, 0), **fresh)


def test_a_refusal_says_what_is_needed_what_is_free_and_what_is_large():
    measured = {
        f"services/{SERVICE}/releases": Use(300 * MIB, 1),
        f"services/{OTHER}/releases": Use(2000 * MIB, 1),
        f"services/{OTHER}/home": Use(500 * MIB, 1),
        "toolchains/node-22.1.0": Use(700 * MIB, 1),
    }
    short = dataclasses.replace(HOST, free_bytes=1100 * MIB)
    words = disk.refusal(short, disk.reserve(HOST, Budgets()), Use(500 * MIB, 9000), measured, SERVICE)
    assert "it needs about 500 MiB and 9000 inodes" in words
    assert "has 76 MiB and 480000 inodes free beside the 1024 MiB that are kept for the host" in words
    assert "other services (2500 MiB), toolchains (700 MiB), releases of this service (300 MiB)" in words
    assert OTHER not in words and "delete" in words


def test_a_build_that_is_too_large_is_told_of_what_was_too_much():
    quota = Use(100 * MIB, 1000)
    assert "took 101 MiB on the disk, with its caches, and 100 MiB are allowed" in disk.too_large(
        Use(101 * MIB, 1), quota
    )
    assert "took 1001 files and directories" in disk.too_large(Use(1, 1001), quota)
    assert "12.0 GiB" in disk.too_large(Use(12 * GIB, 1), quota)


def test_what_is_told_is_by_service_and_by_what_it_is_to_people():
    measured = {
        f"services/{SERVICE}": Use(0, 0),
        f"services/{SERVICE}/releases": Use(1, 1),
        f"services/{SERVICE}/home": Use(2, 1),
        f"services/{SERVICE}/tmp": Use(3, 1),
        f"services/{SERVICE}/build-home": Use(4, 1),
        f"services/{SERVICE}/build-tmp": Use(5, 1),
        f"services/{SERVICE}/builds": Use(6, 1),
        f"services/{SERVICE}/logs": Use(7, 1),
        f"services/{OTHER}/volumes": Use(8, 1),
        "": Use(1, 3),
        "records": Use(1, 3),
        "agent": Use(9, 1),
        "cache": Use(1, 1),
        "cache/npm": Use(10, 1),
        MIRROR: Use(11, 1),
        "toolchains/node-22.1.0": Use(12, 2),
        "toolchains": Use(1, 1),
    }
    told = disk.told(HOST, Use(GIB, 20_000), measured, 5.0)
    sizes = {part: found["bytes"] for part, found in told["services"][SERVICE].items()}
    assert sizes == {"releases": 1, "data": 5, "caches": 4, "builds": 11, "logs": 7}
    assert told["services"][OTHER] == {"volumes": {"bytes": 8, "entries": 1}}
    shared = {part: found["bytes"] for part, found in told["shared"].items()}
    assert shared == {"other": 2, "journal": 9, "caches": 11, "mirrors": 11, "toolchains": 13}
    assert (told["free_bytes"], told["free_inodes"]) == (HOST.free_bytes, HOST.free_inodes)
    assert (told["reserve_bytes"], told["reserve_inodes"], told["measured_at"]) == (GIB, 20_000, 5.0)
    assert disk.told(HOST, Use(), {}, 0.0)["measured_at"] is None
