"""The oracle of the storm: it passes what is whole, and finds each way in which a log can be wrong."""

import ast
import pathlib
import sys
import zlib

import pytest

from tests.oracle import logs

LIFE = "7-100"


class Written:
    """A log as the store leaves it, and the count of the application that wrote it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.logs, self.counted = root / "logs", root / "counted"
        self.logs.mkdir()
        self.counted.mkdir()
        self.raw = self.logs / "web.1.r1.stdout"
        self.raw.touch()
        self.entries: list[bytes] = []
        self.seq = 1

    def lines(self, *numbers: int, life: str = LIFE, at: int = 1000) -> None:
        data = b"".join(b"%s %d %d\n" % (life.encode(), number, at + number) for number in numbers)
        self.entry(len(numbers), len(data), zlib.crc32(data))
        with self.raw.open("ab") as file:
            file.write(data)

    def entry(self, lines: int, length: int, checksum: int, flags: int = 0) -> None:
        offset = self.raw.stat().st_size
        body = logs.ENTRY.pack(self.seq, 1.5, offset, lines, length, 1, checksum, 0, flags, b"web.1", 0)[:-4]
        self.entries.append(body + zlib.crc32(body).to_bytes(4, "little"))
        self.seq += lines

    def give_up(self, entries: int) -> None:
        """As the store does: the lines of the first entries become one gap, what they took becomes zeros."""
        numbers, length = 0, 0
        for entry in self.entries[:entries]:
            _, _, offset, lines, size, *_ = logs.ENTRY.unpack(entry)
            numbers, length = numbers + lines, offset + size
        body = logs.ENTRY.pack(1, 1.5, 0, numbers, 0, 0, 0, 0, logs.GAP, b"", 0)[:-4]
        gap = body + zlib.crc32(body).to_bytes(4, "little")
        self.entries[:entries] = [bytes(logs.ENTRY.size)] * (entries - 1) + [gap]
        self.raw.write_bytes(bytes(length) + self.raw.read_bytes()[length:])

    def compress(self) -> None:
        data, packed = self.raw.read_bytes(), b""
        for at in range(0, len(data), logs.BLOCK):
            block = data[at : at + logs.BLOCK]
            if len(block) == logs.BLOCK:
                text = zlib.compress(block)
                block = (logs.WORD + len(text).to_bytes(4, "little") + text).ljust(logs.BLOCK, b"\0")
            packed += block
        self.raw.write_bytes(packed)

    def count(self, number: int, life: str = LIFE) -> None:
        (self.counted / life).write_text(f"{number:012}")

    def judged(self, others: int = 0) -> logs.Found:
        (self.logs / "index").write_bytes(b"".join(self.entries))
        return logs.judge(self.logs, self.counted, others)


@pytest.fixture
def written(tmp_path: pathlib.Path) -> Written:
    made = Written(tmp_path)
    made.lines(1, 2)
    made.lines(3)
    made.count(3)
    return made


def problem(written: Written) -> str:
    return "; ".join(written.judged().problems)


def test_a_whole_log_has_no_problem(written: Written) -> None:
    written.lines(1, life="9-5000", at=5000)
    written.count(0, "9-5000")  # killed between its line and the count of it
    found = written.judged()
    assert found.problems == []
    assert [(line.seq, line.life, line.number) for line in found.lines] == [
        *((1, LIFE, 1), (2, LIFE, 2), (3, LIFE, 3)),
        (4, "9-5000", 1),
    ]


def test_a_line_that_was_counted_and_is_not_there_is_found(written: Written) -> None:
    written.count(4)
    assert "1 lines are not there, 0 are said to be lost" in problem(written)


def test_a_gap_of_the_right_length_stands_for_lines(written: Written) -> None:
    written.entry(2, 0, 0, logs.GAP)
    written.count(5)
    assert written.judged().problems == []


def test_a_gap_that_claims_too_much_is_found(written: Written) -> None:
    written.entry(4, 0, 0, logs.GAP)
    written.count(5)
    assert "2 lines are not there, 4 are said to be lost" in problem(written)


@pytest.fixture
def long(written: Written) -> Written:
    """Of some blocks."""
    for first in range(4, 12_000, 300):
        written.lines(*range(first, first + 300))
    written.count(12_003)
    return written


def test_compressed_blocks_are_read_and_what_is_wrong_in_them_is_found(long: Written) -> None:
    long.compress()
    found = long.judged()
    assert found.problems == []
    assert len(found.lines) == 12_003
    assert found.blocks > 3
    data = long.raw.read_bytes()
    long.raw.write_bytes(data[: logs.BLOCK + 100] + b"?" + data[logs.BLOCK + 101 :])
    assert "are not what web.1.r1.stdout holds" in problem(long)


def test_an_old_end_that_was_given_up_is_a_gap_of_exactly_its_lines(long: Written) -> None:
    long.give_up(20)
    long.compress()
    found = long.judged()
    assert found.problems == []
    assert (found.gaps, found.is_cut) == (3 + 18 * 300, True)
    long.count(12_002)
    assert long.judged().problems == []  # one more than was counted
    long.count(12_006)
    assert "are said to be lost" in problem(long)


def test_lines_of_the_build_that_were_given_up_are_counted_too(long: Written) -> None:
    long.entries, long.seq = [], 1
    long.raw.write_bytes(b"")
    long.entry(60, 0, 0, logs.GAP)
    long.lines(*range(1, 12_004))
    assert long.judged(others=60).problems == []
    assert "are said to be lost" in "; ".join(long.judged(others=58).problems)


def test_a_newer_line_that_is_lost_while_an_older_is_there_is_found(long: Written) -> None:
    long.give_up(2)
    long.entry(1, 0, 0, logs.GAP)
    long.lines(12_005, 12_006)
    long.count(12_006)
    assert "newer than some" in problem(long)


def test_a_line_that_is_numbered_twice_is_found(written: Written) -> None:
    written.lines(3)
    assert "has lines twice" in problem(written)


def test_a_number_of_the_log_that_is_left_out_or_used_twice_is_found(written: Written) -> None:
    written.seq -= 1
    written.lines(4)
    assert "line 3 comes where 4 should" in problem(written)


def test_bytes_that_changed_are_found(written: Written) -> None:
    data = written.raw.read_bytes()
    written.raw.write_bytes(data.replace(b" 2 ", b" 8 "))
    assert "are not what web.1.r1.stdout holds" in problem(written)


def test_bytes_that_nobody_numbered_are_found(written: Written) -> None:
    with written.raw.open("ab") as file:
        file.write(b"more\n")
    assert "bytes, " in problem(written)


def test_two_lives_at_once_are_found(written: Written) -> None:
    written.lines(1, life="9-1002", at=1001)
    written.count(1, "9-1002")
    assert "wrote at once" in problem(written)


def test_a_damaged_or_torn_entry_is_found(written: Written) -> None:
    written.entries[0] = bytes([written.entries[0][0] ^ 1]) + written.entries[0][1:]
    written.entries.append(b"torn")
    assert "an entry near line 1 is damaged" in problem(written)
    assert "ends within an entry" in problem(written)


def test_the_oracle_imports_the_standard_library_and_itself_alone() -> None:
    for file in pathlib.Path(logs.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign = {name.partition(".")[0] for name in names if name != "tests.oracle"} - sys.stdlib_module_names
            assert foreign == set(), file.name
