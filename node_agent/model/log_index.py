"""The index beside the raw log files: one entry of fixed size per run of whole lines. Pure bytes and numbers.

The supervisor appends entries, the agent reads them. An entry names its raw file by (process, release, stream) and
carries the checksum of the bytes it stands for, so that a raw file that was cut or overwritten is seen, never served.
"""

import dataclasses
import re
import struct
import zlib

LINE_LIMIT = 16 << 10  # a longer line is split into pieces, each with its own number
CHUNK_LIMIT = 256 << 10  # the most bytes that one entry stands for
NAME_LIMIT = 34
STREAMS = ("stdout", "stderr")
RAW_FILE = re.compile(r"^([a-z][a-z0-9]*(?:\.[0-9]+)?)\.r([0-9]+)\.(stdout|stderr)$")

_LAYOUT = struct.Struct(f"<QdQIIIIBx{NAME_LIMIT}sI")
_CHECKSUM = struct.Struct("<I")
SIZE = _LAYOUT.size


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One raw file of a service."""

    process: str
    release: int
    stream: str


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """Lines `seq` … `seq + lines - 1` are the `length` bytes at `offset` of the raw file of `source`."""

    seq: int
    lines: int
    source: Source
    offset: int
    length: int
    time: float
    checksum: int

    @property
    def next_seq(self) -> int:
        return self.seq + self.lines


def parse_file_name(name: str) -> Source | None:
    """Which raw file `name` is; None when it is none."""
    match = RAW_FILE.fullmatch(name)
    return Source(match[1], int(match[2]), match[3]) if match else None


def pack(entry: Entry) -> bytes:
    """`entry` as SIZE bytes, the last four of them a checksum. ValueError when the process name is too long."""
    name = entry.source.process.encode()
    if len(name) > NAME_LIMIT:
        raise ValueError(f"cannot log {entry.source.process!r}: a process name has at most {NAME_LIMIT} characters")
    body = _LAYOUT.pack(
        entry.seq,
        entry.time,
        entry.offset,
        entry.lines,
        entry.length,
        entry.source.release,
        entry.checksum,
        STREAMS.index(entry.source.stream),
        name,
        0,
    )[: -_CHECKSUM.size]
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(data: bytes) -> Entry | None:
    """The entry in `data`; None when it is torn or damaged."""
    if len(data) != SIZE or zlib.crc32(data[: -_CHECKSUM.size]) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
        return None
    seq, time, offset, lines, length, release, checksum, stream, name, _ = _LAYOUT.unpack(data)
    source = Source(name.rstrip(b"\0").decode(), release, STREAMS[stream])
    return Entry(seq, lines, source, offset, length, time, checksum)


def unpack_all(data: bytes) -> list[Entry | None]:
    """Every whole entry in `data`."""
    return [unpack(data[at : at + SIZE]) for at in range(0, len(data) - SIZE + 1, SIZE)]


def cut(data: bytes, *, final: bool) -> int:
    """How many bytes of `data`, read at the end of what is indexed, make whole lines.

    A last line without its newline waits for it, unless it is longer than a line may be or `final` says that nothing
    more will come.
    """
    end = data.rfind(b"\n") + 1
    if end:
        return end
    if final:
        return len(data)
    return (len(data) - 1) // LINE_LIMIT * LINE_LIMIT if len(data) > LINE_LIMIT else 0


def split_lines(data: bytes) -> list[bytes]:
    """The lines of `data` without their newlines; one over LINE_LIMIT comes in pieces."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines or max(map(len, lines)) <= LINE_LIMIT:
        return lines
    return [piece for line in lines for piece in _pieces(line)]


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + LINE_LIMIT] for at in range(0, max(len(line), 1), LINE_LIMIT)]


def describe(seq: int, source: Source, offset: int, data: bytes, time: float) -> Entry:
    """The entry for `data`, which stands at `offset` of `source`."""
    lines = data.count(b"\n") if len(data) <= LINE_LIMIT and data.endswith(b"\n") else len(split_lines(data))
    return Entry(seq, lines, source, offset, len(data), time, zlib.crc32(data))


def lines_of(entry: Entry, data: bytes) -> list[bytes] | None:
    """The lines of `entry` out of `data`, what its raw file holds there; None when that is no longer what it was."""
    if len(data) != entry.length or zlib.crc32(data) != entry.checksum:
        return None
    return split_lines(data)
