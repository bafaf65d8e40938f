"""The log index as bytes: what is packed comes back, what is damaged is seen, no byte of a log is lost in the cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.model import log_index
from node_agent.model.log_index import LINE_LIMIT, SIZE, Entry, Source

U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
SOURCES = st.builds(
    Source,
    process=st.from_regex(r"[a-z][a-z0-9-]{0,28}(\.[0-9]{1,4})?|cron\.[a-z][a-z0-9-]{0,28}", fullmatch=True),
    release=U32,
    stream=st.sampled_from(log_index.STREAMS),
)
ENTRIES = st.builds(
    Entry,
    seq=U64,
    lines=U32,
    source=SOURCES,
    offset=U64,
    length=U32,
    time=st.floats(allow_nan=False),
    checksum=U32,
    late=st.booleans(),
)
GAPS = st.builds(log_index.lost, seq=U64, lines=U64, time=st.floats(allow_nan=False), source=SOURCES, offset=U64)
WEB = Source("web.1", 1, "stdout")
TEXT = st.lists(
    st.one_of(st.binary(max_size=50), st.integers(LINE_LIMIT - 2, 3 * LINE_LIMIT).map(lambda n: b"x" * n)), max_size=8
).map(b"\n".join)


@given(ENTRIES | GAPS)
def test_an_entry_comes_back_as_it_was(entry):
    data = log_index.pack(entry)
    assert len(data) == SIZE
    assert log_index.unpack(data) == entry


@given(ENTRIES, st.integers(0, SIZE * 8 - 1))
def test_one_flipped_bit_makes_an_entry_unreadable(entry, bit):
    data = bytearray(log_index.pack(entry))
    data[bit // 8] ^= 1 << bit % 8
    assert log_index.unpack(bytes(data)) is None


def test_a_torn_entry_is_no_entry():
    data = log_index.pack(log_index.describe(1, WEB, 0, b"a\n", len(b"a\n"), 0.0))
    assert log_index.unpack(data[:-1]) is None
    assert log_index.unpack(bytes(SIZE)) is None
    assert log_index.unpack_all(data + data[:30]) == [log_index.unpack(data)]


def test_a_name_too_long_for_an_entry_is_refused():
    with pytest.raises(ValueError, match="at most"):
        log_index.pack(log_index.describe(1, Source("a" * 40, 1, "stdout"), 0, b"a\n", len(b"a\n"), 0.0))


@given(TEXT)
def test_lines_are_split_without_losing_a_byte_and_none_is_too_long(data):
    lines = log_index.split_lines(data)
    assert all(len(line) <= LINE_LIMIT for line in lines)
    assert b"".join(lines) == data.replace(b"\n", b"")


@given(TEXT)
def test_the_number_of_lines_in_an_entry_is_what_a_reader_finds(data):
    entry = log_index.describe(7, WEB, 0, data, len(data), 0.0)
    lines = log_index.lines_of(entry, data)
    assert lines is not None
    assert entry.lines == len(lines)
    assert entry.next_seq == 7 + len(lines)


@given(TEXT, st.lists(st.integers(1, 40_000), min_size=1, max_size=30))
def test_however_a_log_arrives_its_bytes_are_indexed_once_and_in_order(data, arrivals):
    written, indexed, lines = 0, 0, []
    for step in (*arrivals, len(data)):
        written = min(len(data), written + step)
        while cut := log_index.cut(data[indexed:written], written - indexed, final=False):
            lines += log_index.split_lines(data[indexed : indexed + cut])
            indexed += cut
    lines += log_index.split_lines(data[indexed:])
    assert b"".join(lines) == data.replace(b"\n", b"")
    if all(len(line) <= LINE_LIMIT for line in data.split(b"\n")):
        assert lines == log_index.split_lines(data)


def test_a_partial_line_waits_for_its_newline_unless_nothing_more_comes():
    assert log_index.cut(b"whole\npart", len(b"whole\npart"), final=False) == 6
    assert log_index.cut(b"part", len(b"part"), final=False) == 0
    assert log_index.cut(b"part", len(b"part"), final=True) == 4


def test_bytes_that_are_not_what_was_indexed_are_refused():
    entry = log_index.describe(1, WEB, 0, b"one\ntwo\n", len(b"one\ntwo\n"), 0.0)
    assert log_index.lines_of(entry, b"one\ntwo\n") == [b"one", b"two"]
    assert log_index.lines_of(entry, b"one\ntw") is None
    assert log_index.lines_of(entry, b"ONE\ntwo\n") is None


@pytest.mark.parametrize("name", ["index", "web.1.stdout", "web.1.r1.stdin", "../x.r1.stdout", ".index.new"])
def test_other_files_are_no_raw_files(name):
    assert log_index.parse_file_name(name) is None


@given(SOURCES)
def test_a_raw_files_name_tells_its_source(source):
    assert log_index.parse_file_name(f"{source.process}.r{source.release}.{source.stream}") == source
