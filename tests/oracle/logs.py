"""Whether a log is whole: an index reader of its own, the raw files, and what the applications counted themselves.

An application that is judged writes lines `LIFE NUMBER NANOSECONDS`, from number 1 in each of its lives, and after each
line the number into the file LIFE of a directory of its own.
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
    gaps: int = 0  # lines that the log says are lost
    problems: list[str] = dataclasses.field(default_factory=list)


def judge(logs: pathlib.Path, counted: pathlib.Path) -> Found:
    """Read a whole log at rest; `counted` is the directory in which the application counted its lines."""
    found = Found()
    data = (logs / "index").read_bytes()
    if len(data) % ENTRY.size:
        found.problems.append(f"the index ends within an entry: {len(data)} bytes")
    following, ends = 1, dict[str, int]()
    for at in range(0, len(data) - ENTRY.size + 1, ENTRY.size):
        following = _entry(logs, data[at : at + ENTRY.size], following, ends, found)
    for file in logs.glob("*.r*.*"):
        if file.stat().st_size != ends.get(file.name, 0):
            found.problems.append(f"{file.name} has {file.stat().st_size} bytes, {ends.get(file.name, 0)} are numbered")
    _compare(found, counted)
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
        ends[name] = max(offset, ends.get(name, 0))
        return seq + lost
    if offset != ends.get(name, 0):
        found.problems.append(f"line {seq} is at {offset} of {name}, where {ends.get(name, 0)} follows")
    ends[name] = offset + length
    with (logs / name).open("rb") as file:
        file.seek(offset)
        raw = file.read(length)
    texts = raw.removesuffix(b"\n").split(b"\n")
    if len(raw) != length or zlib.crc32(raw) != checksum:
        found.problems.append(f"line {seq} and {lines - 1} more are not what {name} holds")
    elif len(texts) != lines:
        found.problems.append(f"line {seq} begins {len(texts)} lines, the entry says {lines}")
    if process.startswith(b"web"):
        found.lines += [_line(number, text, found) for number, text in enumerate(texts, start=seq)]
    return seq + lines


def _line(seq: int, text: bytes, found: Found) -> Line:
    try:
        life, number, at = text.decode().split()
        return Line(seq, life, int(number), int(at))
    except ValueError:
        found.problems.append(f"line {seq} is none that the application wrote: {text[:100]!r}")
        return Line(seq, "?", 0, 0)


def _compare(found: Found, counted: pathlib.Path) -> None:
    """Against what the application counted: at most its very last line was written and not counted any more."""
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
        missing += len(set(range(1, said + 1)) - set(numbers))
    if unknown := set(lives) - {file.name for file in counted.iterdir()}:
        found.problems.append(f"lives that never counted: {unknown}")
    if missing > found.gaps or (found.gaps and found.gaps - missing > len(lives)):
        found.problems.append(f"{missing} lines are not there, {found.gaps} are said to be lost")
    _overlaps(lives, found)


def _overlaps(lives: dict[str, list[Line]], found: Found) -> None:
    """Two lives of one application are never at once."""
    spans = sorted(
        (min(line.at for line in lines), max(line.at for line in lines), life) for life, lines in lives.items()
    )
    for (_, end, one), (begin, _, two) in itertools.pairwise(spans):
        if begin < end:
            found.problems.append(f"lives {one} and {two} wrote at once")
