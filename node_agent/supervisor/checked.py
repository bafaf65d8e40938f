"""Values in files that a person or a disk may have changed: lines of a checksum and JSON. What differs is not believed."""

import json
import zlib
from typing import Any

CHECKSUM = 8


def encode(value: Any) -> bytes:
    """One line."""
    body = json.dumps(value, separators=(",", ":")).encode()
    return b"%0*x %s\n" % (CHECKSUM, zlib.crc32(body), body)


def decode(data: bytes) -> Any:
    """The reverse of `encode`; ValueError when `data` is not what it wrote."""
    line = data.removesuffix(b"\n")
    head, body = line[: CHECKSUM + 1], line[CHECKSUM + 1 :]
    if head != b"%0*x " % (CHECKSUM, zlib.crc32(body)):
        raise ValueError("its checksum is another")
    return json.loads(body)
