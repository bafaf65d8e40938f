"""Compressed pieces of a raw log file that nobody writes to any more. Pure bytes.

A file is compressed block by block, and each block stands where its lines stood: the offsets in the index stay true,
and the room that a block no longer needs is a hole.
"""

import struct
import zlib

BLOCK = 64 << 10
PAGE = 4 << 10  # what a hole is made of
LEVEL = 1

_HEADER = struct.Struct("<4sI")
_MAGIC = b"\0z1\n"


def pack(block: bytes) -> bytes | None:
    """`block`, of BLOCK bytes, compressed; None when that would free no page."""
    packed = zlib.compress(block, LEVEL)
    if len(packed) + _HEADER.size > BLOCK - PAGE:
        return None
    return _HEADER.pack(_MAGIC, len(packed)) + packed


def size(data: bytes) -> int:
    """How many bytes of `data` are its compressed block; 0 when it does not begin like one."""
    if len(data) < _HEADER.size:
        return 0
    magic, length = _HEADER.unpack_from(data)
    return _HEADER.size + int(length) if magic == _MAGIC and length <= BLOCK - PAGE - _HEADER.size else 0


def unpack(data: bytes) -> bytes | None:
    """The BLOCK bytes that `data` begins with in their compressed form; None when it does not, or is damaged."""
    end = size(data)
    if not end:
        return None
    unpacker = zlib.decompressobj()
    try:
        block = unpacker.decompress(data[_HEADER.size : end], BLOCK + 1)
    except zlib.error:
        return None
    return block if len(block) == BLOCK and unpacker.eof else None
