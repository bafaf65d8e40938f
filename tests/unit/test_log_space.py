"""Who gives up how much of its log: within the budgets afterwards, never the quiet for the loud, never without a count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.model import log_index, log_space
from node_agent.model.log_index import SIZE, Source
from node_agent.model.log_space import MIB, Budgets, Cut

WEB = Source("web.1", 1, "stdout")
SIZES = st.dictionaries(st.from_regex(r"[a-z]{1,4}", fullmatch=True), st.integers(0, 10**6), max_size=8)


def an_entry(seq, lines=1, length=100, time=100.0, source=WEB, offset=0):
    return log_index.Entry(seq, lines, source, offset, length, time, 0)


@given(SIZES, st.integers(1, 10**6), st.integers(1, 10**6))
def test_after_the_cuts_each_service_and_the_host_are_within_their_budgets(used, service_bytes, host_bytes):
    cuts = log_space.plan(used, Budgets(service_bytes, host_bytes), 0.0)
    left = {cut.service_id: used[cut.service_id] - cut.free for cut in cuts}
    assert set(left) == set(used)
    assert all(0 <= size <= service_bytes for size in left.values())
    assert sum(left.values()) <= host_bytes


def test_a_flooded_service_is_cut_deeper_so_that_there_is_room_for_what_comes():
    cuts = log_space.plan({"loud": 700, "calm": 700}, Budgets(1000, 10**6), 0.0, {"loud"})
    assert {cut.service_id: cut.free for cut in cuts} == {"loud": 200, "calm": 0}


@given(SIZES, st.integers(1, 10**6))
def test_where_the_host_is_full_the_largest_give_way_first(used, host_bytes):
    cuts = {cut.service_id: cut.free for cut in log_space.plan(used, Budgets(10**9, host_bytes), 0.0)}
    kept = [size for name, size in used.items() if not cuts[name]]
    assert all(used[name] >= max(kept, default=0) for name, free in cuts.items() if free)
    if max(used.values(), default=0) * 8 < log_space.fair_share(used.values(), host_bytes) * 7:
        assert not any(cuts.values())


def test_the_limits_are_read_from_three_numbers():
    assert Budgets.parse("1,2,3") == Budgets(1 << 20, 2 << 20, 3 * 86400.0)


@pytest.mark.parametrize("text", ["", "1,2", "0,1,1", "1,2,3,4", "1,2,x", "-1,2,3", "1,2,3.5", "1,2,4294967296"])
def test_other_limits_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="512,4096,30"):
        Budgets.parse(text)


def test_only_as_much_goes_as_must():
    entries = [an_entry(number, length=1000) for number in range(1, 11)]
    given_up = log_space.take(entries, Cut("svc", 2 * (1000 + SIZE), 0.0))
    assert given_up.count == 2
    assert (given_up.gap.seq, given_up.gap.next_seq) == (1, 3)
    assert given_up.last == {WEB: entries[1]}


def test_what_is_too_old_goes_even_when_there_is_room():
    entries = [an_entry(1, time=5.0), an_entry(2, time=9.0), an_entry(3, time=10.0)]
    assert log_space.take(entries, Cut("svc", 0, 10.0)).count == 2
    assert log_space.take(entries[2:], Cut("svc", 0, 10.0)) is None


def test_a_gap_grows_over_what_follows_it_and_alone_is_nothing_to_take():
    gap = log_index.lost(1, 10, 5.0)
    entries = [gap, an_entry(11, lines=4), an_entry(15)]
    assert log_space.take(entries, Cut("svc", 100, 0.0)).gap == log_index.lost(1, 14, 100.0)
    assert log_space.take([gap], Cut("svc", 10**6, 100.0)) is None


def test_the_last_entry_of_a_file_of_which_more_waits_is_kept():
    entries = [an_entry(number, length=1000, offset=1000 * number) for number in range(1, 5)]
    assert log_space.take(entries, Cut("svc", 10**6, 0.0), frozenset({(WEB, 4000)})).count == 2
    assert log_space.take(entries, Cut("svc", 10**6, 0.0), frozenset({(WEB, 2000)})) is None


def test_damaged_entries_are_counted_by_their_neighbours_and_never_the_last():
    entries = [None, an_entry(5, lines=2), None, an_entry(10), None]
    given_up = log_space.take(entries, Cut("svc", 10**6, 0.0))
    assert given_up.count == 4
    assert (given_up.gap.seq, given_up.gap.next_seq) == (5, 11)


def test_what_its_program_cut_away_is_not_taken_for_what_stands_there_now():
    entries = [an_entry(1, offset=5000), log_index.lost(2, 1, 100.0, WEB), an_entry(3)]
    assert log_space.take(entries, Cut("svc", 10**6, 0.0)).last == {WEB: entries[2]}
    assert log_space.take(entries[:2], Cut("svc", 10**6, 0.0)).last == {}


@pytest.mark.parametrize(
    ("behind", "hurry"),
    [
        ({"a": 64 * MIB, "b": 1}, set()),
        ({"a": 64 * MIB + 1, "b": 1}, {"a"}),
        (dict.fromkeys("abcdefghi", 60 * MIB), set("abcdefghi")),
        ({}, set()),
    ],
)
def test_numbering_waits_while_the_service_and_the_host_have_room_for_what_is_behind(behind, hurry):
    assert log_space.in_a_hurry(behind, Budgets()) == hurry


def test_little_room_leaves_little_time():
    assert log_space.in_a_hurry({"a": 2 * MIB}, Budgets(service_bytes=8 * MIB)) == {"a"}
