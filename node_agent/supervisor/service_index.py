"""The index of one service as the supervisor writes it: entries at its end, and a head that is given up.

Beside it stands how far each raw file was indexed at some entry: a start reads the entries after that one alone, and a
raw file whose entries were all given up is not numbered again. Every method raises OSError.
"""

import json
import os
import pathlib
import zlib
from collections.abc import Callable, Iterator

from node_agent import atomic, raw_log
from node_agent.model import log_index
from node_agent.model.log_index import SIZE, Entry, Source

BLOCK = SIZE * 512
CHECKPOINT_BYTES = 1 << 20  # of index, between two notes of the positions


class ServiceIndex:
    """Open for appending; `positions` tells how far each raw file is indexed."""

    def __init__(self, index: pathlib.Path) -> None:
        self._path = index
        self.directory = index.parent
        self._noted = index.with_name("positions")
        self._fd = os.open(index, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        self._end, last = self._repair()
        self._checked, seq, self.positions = self._read_positions()
        self.next_seq = max(last.next_seq if last else 1, seq)
        self._find_positions()

    def close(self) -> None:
        os.close(self._fd)

    def append(self, entries: list[Entry]) -> None:
        """In one write, so that a kill leaves all, none or a torn tail that the next start cuts off."""
        data = b"".join(map(log_index.pack, entries))
        written = os.write(self._fd, data)
        if written != len(data):
            os.ftruncate(self._fd, self._end)
            raise OSError("the index takes no more bytes")
        self._end += written
        self.next_seq = entries[-1].next_seq
        for entry in entries:
            self.positions[entry.source] = entry.offset + entry.length
        if self._end - self._checked >= CHECKPOINT_BYTES:
            self.write_positions(flushed=False)

    def newest_first(self, limit: int) -> list[Entry]:
        """At most `limit` bytes of good entries from the end."""
        size = min(limit, self._end)
        found = log_index.unpack_all(os.pread(self._fd, size, self._end - size))
        return [entry for entry in reversed(found) if entry is not None]

    def oldest(self, limit: int) -> Iterator[Entry | None]:
        """At most `limit` entries from the first one that is kept, each unpacked when it is asked for."""
        data = os.pread(self._fd, limit * SIZE, raw_log.first_entry(self._fd) * SIZE)
        return (log_index.unpack(data[at : at + SIZE]) for at in range(0, len(data) - SIZE + 1, SIZE))

    def give_up(self, count: int, gap: Entry, punch: Callable[[int, int, int], None]) -> None:
        """The first `count` entries that are kept give way to `gap`, in the place of the last of them.

        Killed or without power in between, the entries that are left tell the same story: their raw bytes are gone, and
        the numbers that no entry has are missing.
        """
        at = (raw_log.first_entry(self._fd) + count - 1) * SIZE
        fd = os.open(
            self._path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        )  # one that may write elsewhere than at the end
        try:
            os.pwrite(fd, log_index.pack(gap), at)
            if at:
                punch(fd, 0, at)
        finally:
            os.close(fd)

    def write_positions(self, *, flushed: bool) -> None:
        """Note how far each file is indexed. `flushed`: durably, for what no entry will tell."""
        if flushed:
            os.fdatasync(self._fd)
        kept = {source.file_name: at for source, at in self.positions.items() if source != log_index.NOBODY}
        noted = {"at": self._end, "last": self._entry_at(self._end), "seq": self.next_seq, "positions": kept}
        text = json.dumps(noted)
        atomic.write_bytes(self._noted, f"{zlib.crc32(text.encode()):08x} {text}\n".encode(), flushed=flushed)
        self._checked = self._end

    def _read_positions(self) -> tuple[int, int, dict[Source, int]]:
        """What was noted, of files that are there. A note that is missing or damaged costs a longer search, and so does
        one that knew other entries: then those that are left are believed first.
        """
        try:
            checksum, _, text = self._noted.read_text().rstrip("\n").partition(" ")
            if checksum != f"{zlib.crc32(text.encode()):08x}":
                return 0, 1, {}
            noted = json.loads(text)
        except (FileNotFoundError, UnicodeDecodeError):
            return 0, 1, {}
        there = self._files()
        positions = {source: noted["positions"][name] for name, source in there.items() if name in noted["positions"]}
        is_known = noted["at"] <= self._end and noted["last"] == self._entry_at(noted["at"])
        return noted["at"] if is_known else 0, noted["seq"], positions

    def _entry_at(self, end: int) -> str:
        """The entry that ends at `end`, to know it again."""
        return os.pread(self._fd, SIZE, max(0, end - SIZE)).hex() if end else ""

    def _files(self) -> dict[str, Source]:
        """The raw files that have content."""
        return {
            file.name: source
            for file in os.scandir(self.directory)
            if (source := log_index.parse_file_name(file.name)) and file.stat(follow_symlinks=False).st_size
        }

    def _repair(self) -> tuple[int, Entry | None]:
        """Cut off what a kill or a power failure left torn; the size and the last good entry."""
        size = os.fstat(self._fd).st_size
        end = size - size % SIZE
        last = None
        while end and last is None:
            last = log_index.unpack(os.pread(self._fd, SIZE, end - SIZE))
            if last is None:
                end -= SIZE
        if end != size:
            os.ftruncate(self._fd, end)
        return end, last

    def _find_positions(self) -> None:
        """From the end backwards to what was noted, or until every raw file was seen."""
        missing = set(self._files().values())
        at, stop = self._end, max(self._checked, raw_log.first_entry(self._fd) * SIZE)
        while at > stop and missing:
            start = max(stop, at - BLOCK)
            for entry in reversed(log_index.unpack_all(os.pread(self._fd, at - start, start))):
                if entry is not None and entry.source in missing:
                    self.positions[entry.source] = entry.offset + entry.length
                    missing.discard(entry.source)
            at = start
