"""Compressed blocks: what is packed comes back, what is damaged or only looks like one is left alone."""

import zlib

from hypothesis import given
from hypothesis import strategies as st

from node_agent.model import log_blocks
from node_agent.model.log_blocks import BLOCK, PAGE

TEXT = (b"GET / HTTP/1.1 200\n" * 5000)[:BLOCK]
PACKED = log_blocks.pack(TEXT)


@given(st.binary(min_size=1, max_size=500))
def test_a_block_comes_back_as_it_was(piece):
    block = (piece * BLOCK)[:BLOCK]
    packed = log_blocks.pack(block)
    assert log_blocks.unpack(packed) == block
    assert log_blocks.unpack(packed + b"what stood there before") == block
    assert log_blocks.size(packed + b"more") == len(packed) <= BLOCK - PAGE


def test_a_block_that_would_free_nothing_stays():
    import random

    assert log_blocks.pack(random.Random(1).randbytes(BLOCK)) is None


@given(st.integers(0, len(PACKED) * 8 - 1))
def test_a_damaged_block_is_never_unpacked_to_other_bytes(bit):
    damaged = bytearray(PACKED)
    damaged[bit // 8] ^= 1 << bit % 8
    assert log_blocks.unpack(bytes(damaged)) in {None, TEXT}


@given(st.binary(max_size=100))
def test_other_bytes_are_no_block(data):
    assert log_blocks.unpack(data) is None


def test_a_block_that_unpacks_to_more_or_less_is_refused():
    for length in (BLOCK - 1, BLOCK + 1, BLOCK * 100):
        packed = zlib.compress(bytes(length))
        assert log_blocks.unpack(PACKED[:4] + len(packed).to_bytes(4, "little") + packed) is None
