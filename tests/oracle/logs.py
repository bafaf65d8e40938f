"""Whether a log is whole: an index reader of its own, the raw files, and what the applications counted themselves.

An application that is judged writes lines `LIFE NUMBER NANOSECONDS`, from number 1 in each of its lives, and after each
line the number into the file LIFE of a directory of its own. Every fifth goes to standard error. What else stands in a
line is padding.

The old end of a log may be given up: its entries and their bytes are holes, and a gap says how many lines they were. A raw
file may be compressed, in blocks that stand where their lines stood.
"""

import collections
import dataclasses
import itertools
import pathlib
import struct
import zlib

# seq, time, offset, lines, length, release, checksum of the bytes, stream, flags, process, checksum of the entry
ENTRY = struct.Struct("<QdQIIIIBB34sI")
STREAMS = ("stdout", "stderr")
GAP = 1
# A block: a word that no text begins with, the length of what follows it, and zlib's bytes; then a hole.
BLOCK, WORD, LENGTH = 64 << 10, b"\0z1\n", struct.Struct("<4xI")


@dataclasses.dataclass(frozen=True)
class Line:
    """One line as the application wrote it, under the number that the log gave it."""

    seq: int
    life: str
    number: int
    at: int


@dataclasses.dataclass
class Found:
    """What a log holds, and every sentence that speaks against it."""

    lines: list[Line] = dataclasses.field(default_factory=list)
    others: int = 0  # lines of the build
    gaps: int = 0  # lines that the log says are lost
    blocks: int = 0  # that had to be unpacked
    is_cut: bool = False  # its old end was given up
    problems: list[str] = dataclasses.field(default_factory=list)


def judge(logs: pathlib.Path, counted: pathlib.Path, others: int = 0, *, alone: bool = True) -> Found:
    """Read a whole log at rest; `counted` is the directory in which the application counted its lines, `others` how many
    the build wrote, where the log may have given up some of them. `alone`: no life may begin before the one before ended.
    """
    found = Found()
    data = (logs / "index").read_bytes()
    if len(data) % ENTRY.size:
        found.problems.append(f"the index ends within an entry: {len(data)} bytes")
    following, ends = 1, dict[str, int]()
    hole = (len(data) - len(data.lstrip(b"\0"))) // ENTRY.size * ENTRY.size
    for at in range(hole, len(data) - ENTRY.size + 1, ENTRY.size):
        following = _entry(logs, data[at : at + ENTRY.size], following, ends, found)
    for file in logs.glob("*.r*.*"):
        if file.stat().st_size != ends.get(file.name, 0) and not (found.is_cut and file.name not in ends):
            found.problems.append(f"{file.name} has {file.stat().st_size} bytes, {ends.get(file.name, 0)} are numbered")
    lives = _compare(found, counted, others)
    if alone:
        _overlaps(lives, found)
    return found


def _entry(logs: pathlib.Path, data: bytes, following: int, ends: dict[str, int], found: Found) -> int:
    """Take one entry in; the number that the next one must begin with."""
    seq, _, offset, lines, length, release, checksum, stream, flags, process, own = ENTRY.unpack(data)
    if zlib.crc32(data[:-4]) != own:
        found.problems.append(f"an entry near line {following} is damaged")
        return following
    if seq != following:
        found.problems.append(f"line {seq} comes where {following} should")
    name = f"{process.rstrip(bytes(1)).decode()}.r{release}.{STREAMS[stream]}"
    if flags & GAP:
        lost = lines | length << 32
        found.gaps += lost
        if not process.rstrip(bytes(1)):
            found.is_cut = True
            return seq + lost
        ends[name] = max(offset, ends.get(name, 0))
        return seq + lost
    if offset != ends.get(name, offset if found.is_cut else 0):
        found.problems.append(f"line {seq} is at {offset} of {name}, where {ends.get(name, 0)} follows")
    ends[name] = offset + length
    raw = _raw(logs / name, offset, length, checksum, found)
    texts = raw.removesuffix(b"\n").split(b"\n")
    if len(raw) != length or zlib.crc32(raw) != checksum:
        found.problems.append(f"line {seq} and {lines - 1} more are not what {name} holds")
    elif len(texts) != lines:
        found.problems.append(f"line {seq} begins {len(texts)} lines, the entry says {lines}")
    if process.startswith(b"web"):
        found.lines += [_line(number, text, found) for number, text in enumerate(texts, start=seq)]
    else:
        found.others += lines
    return seq + lines


def _raw(path: pathlib.Path, offset: int, length: int, checksum: int, found: Found) -> bytes:
    """The bytes that were written there, whether they stand there or in compressed blocks."""
    with path.open("rb") as file:
        file.seek(offset)
        plain = file.read(length)
        if zlib.crc32(plain) == checksum:
            return plain
        first, unpacked = offset // BLOCK, b""
        file.seek(first * BLOCK)
        while len(unpacked) < offset + length - first * BLOCK and (block := file.read(BLOCK)):
            unpacked += _unpacked(block, found)
    return unpacked[offset - first * BLOCK :][:length]


def _unpacked(block: bytes, found: Found) -> bytes:
    if not block.startswith(WORD):
        return block
    (size,) = LENGTH.unpack_from(block)
    try:
        unpacked = zlib.decompress(block[LENGTH.size : LENGTH.size + size])
    except zlib.error:
        return block
    found.blocks += 1
    return unpacked


def _line(seq: int, text: bytes, found: Found) -> Line:
    try:
        life, number, at, *_ = text.decode().split()
        return Line(seq, life, int(number), int(at))
    except ValueError:
        found.problems.append(f"line {seq} is none that the application wrote: {text[:100]!r}")
        return Line(seq, "?", 0, 0)


def _compare(found: Found, counted: pathlib.Path, others: int) -> dict[str, list[Line]]:
    """Against what was counted: at most the very last line of a life was written and not counted any more."""
    lives: dict[str, list[Line]] = collections.defaultdict(list)
    for line in found.lines:
        lives[line.life].append(line)
    missing = 0
    for file in counted.iterdir():
        said, numbers = int(file.read_text() or 0), [line.number for line in lives.get(file.name, [])]
        if len(set(numbers)) != len(numbers):
            found.problems.append(f"life {file.name} has lines twice")
        if set(numbers) - set(range(1, said + 2)):
            found.problems.append(f"life {file.name} has lines that it never wrote")
        gone = set(range(1, said + 1)) - set(numbers)
        missing += len(gone)
        if found.is_cut and _is_newer(gone, numbers):
            found.problems.append(f"life {file.name} has lost lines that are newer than some it has")
    if unknown := set(lives) - {file.name for file in counted.iterdir()}:
        found.problems.append(f"lives that never counted: {unknown}")
    missing += max(0, others - found.others)
    if missing > found.gaps or (found.gaps and found.gaps - missing > len([*counted.iterdir()])):
        found.problems.append(f"{missing} lines are not there, {found.gaps} are said to be lost")
    return lives


def _is_newer(gone: set[int], kept: list[int]) -> bool:
    """In one of the two streams."""
    streams = [
        ({n for n in gone if (n % 5 == 0) == second}, [n for n in kept if (n % 5 == 0) == second]) for second in (0, 1)
    ]
    return any(lost and left and max(lost) > min(left) for lost, left in streams)


def _overlaps(lives: dict[str, list[Line]], found: Found) -> None:
    """Two lives of one application are never at once."""
    spans = sorted(
        (min(line.at for line in lines), max(line.at for line in lines), life) for life, lines in lives.items()
    )
    for (_, end, one), (begin, _, two) in itertools.pairwise(spans):
        if begin < end:
            found.problems.append(f"lives {one} and {two} wrote at once")
