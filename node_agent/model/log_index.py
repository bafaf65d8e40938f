"""The index beside the raw log files: one entry of fixed size per run of whole lines. Pure bytes and numbers.

The supervisor appends entries, the agent reads them. An entry names its raw file by (process, release, stream) and
carries the checksum of the bytes it stands for, so that a raw file that was cut or overwritten is seen, never served.
An entry that is a gap stands for numbers whose lines are lost, and for no bytes.
"""

import dataclasses
import re
import struct
import zlib

LINE_LIMIT = 16 << 10  # a longer line is split into pieces, each with its own number
CHUNK_LIMIT = 256 << 10  # the most bytes that one entry stands for
NAME_LIMIT = 34
NEWLINE = b"\n"[0]
STREAMS = ("stdout", "stderr")
RAW_FILE = re.compile(r"^([a-z][a-z0-9-]*(?:\.[0-9]+)?|cron\.[a-z][a-z0-9-]*)\.r([0-9]+)\.(stdout|stderr)$")

_LAYOUT = struct.Struct(f"<QdQIIIIBB{NAME_LIMIT}sI")
_CHECKSUM = struct.Struct("<I")
SIZE = _LAYOUT.size
_GAP, _LATE = 1, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """One raw file of a service."""

    process: str
    release: int
    stream: str

    @property
    def file_name(self) -> str:
        return f"{self.process}.r{self.release}.{self.stream}"


NOBODY = Source("", 0, STREAMS[0])


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """Lines `seq` … `seq + lines - 1` are the `length` bytes at `offset` of the raw file of `source`.

    `gap`: these lines are lost; where a source is named, what it writes next stands at `offset`. `late`: the lines were
    found after a time in which nobody looked, and `time` is that of the file.
    """

    seq: int
    lines: int
    source: Source
    offset: int
    length: int
    time: float
    checksum: int
    gap: bool = False
    late: bool = False

    @property
    def next_seq(self) -> int:
        return self.seq + self.lines


def lost(seq: int, lines: int, time: float, source: Source = NOBODY, offset: int = 0) -> Entry:
    """The gap that stands for `lines` numbers from `seq` on; what `source` writes next stands at `offset`."""
    return Entry(seq, lines, source, offset, 0, time, 0, gap=True)


def parse_file_name(name: str) -> Source | None:
    """Which raw file `name` is; None when it is none."""
    match = RAW_FILE.fullmatch(name)
    return Source(match[1], int(match[2]), match[3]) if match else None


def pack(entry: Entry) -> bytes:
    """`entry` as SIZE bytes, the last four of them a checksum. ValueError when the process name is too long."""
    name = entry.source.process.encode()
    if len(name) > NAME_LIMIT:
        raise ValueError(f"cannot log {entry.source.process!r}: a process name has at most {NAME_LIMIT} characters")
    high, lines = divmod(entry.lines, 1 << 32)  # a gap may be longer than 32 bits say, and has no length
    body = _LAYOUT.pack(
        entry.seq,
        entry.time,
        entry.offset,
        lines,
        high if entry.gap else entry.length,
        entry.source.release,
        entry.checksum,
        STREAMS.index(entry.source.stream),
        _GAP * entry.gap | _LATE * entry.late,
        name,
        0,
    )[: -_CHECKSUM.size]
    return body + _CHECKSUM.pack(zlib.crc32(body))


def unpack(data: bytes) -> Entry | None:
    """The entry in `data`; None when it is torn or damaged."""
    if len(data) != SIZE or zlib.crc32(data[: -_CHECKSUM.size]) != _CHECKSUM.unpack(data[-_CHECKSUM.size :])[0]:
        return None
    seq, time, offset, lines, length, release, checksum, stream, flags, name, _ = _LAYOUT.unpack(data)
    source = Source(name.rstrip(b"\0").decode(), release, STREAMS[stream])
    gap, late = bool(flags & _GAP), bool(flags & _LATE)
    if gap:
        lines, length = lines | length << 32, 0
    return Entry(seq, lines, source, offset, length, time, checksum, gap, late)


def unpack_all(data: bytes) -> list[Entry | None]:
    """Every whole entry in `data`."""
    return [unpack(data[at : at + SIZE]) for at in range(0, len(data) - SIZE + 1, SIZE)]


def cut(data: bytes | bytearray, size: int, *, final: bool) -> int:
    """How many of the first `size` bytes of `data`, read at the end of what is indexed, make whole lines.

    A last line without its newline waits for it, unless it is longer than a line may be or `final` says that nothing
    more will come.
    """
    end = data.rfind(b"\n", 0, size) + 1
    if end:
        return end
    if final:
        return size
    return (size - 1) // LINE_LIMIT * LINE_LIMIT if size > LINE_LIMIT else 0


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


def count_lines(data: bytes | bytearray, size: int) -> int:
    """How many lines `split_lines` makes of the first `size` bytes, without making them."""
    lines = data.count(b"\n", 0, size) + (size > 0 and data[size - 1] != NEWLINE)
    at = 0
    while size - at > LINE_LIMIT:
        newline = data.rfind(b"\n", at, at + LINE_LIMIT + 1)
        if newline < 0:
            newline = data.find(b"\n", at + LINE_LIMIT, size)
            newline = newline if newline >= 0 else size
            lines += (newline - at - 1) // LINE_LIMIT
        at = newline + 1
    return lines


def describe(
    seq: int, source: Source, offset: int, data: bytes | bytearray, size: int, time: float, *, late: bool = False
) -> Entry:
    """The entry for the first `size` bytes of `data`, which stand at `offset` of `source`. Copies nothing: this is done
    for every byte that is logged.
    """
    return Entry(
        seq, count_lines(data, size), source, offset, size, time, zlib.crc32(memoryview(data)[:size]), late=late
    )


def lines_of(entry: Entry, data: bytes) -> list[bytes] | None:
    """The lines of `entry` out of `data`, what its raw file holds there; None when that is no longer what it was."""
    return split_lines(data) if is_of(entry, data) else None


def is_of(entry: Entry, data: bytes) -> bool:
    """Whether `data` is what `entry` stands for."""
    return not entry.gap and len(data) == entry.length and zlib.crc32(data) == entry.checksum
