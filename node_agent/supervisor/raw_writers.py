"""A raw file that a living process writes to, and what is new in it."""

import dataclasses
import os

from node_agent import raw_log
from node_agent.model import log_index
from node_agent.model.log_index import Entry, Source
from node_agent.supervisor.loop import Timer, note
from node_agent.supervisor.service_index import ServiceIndex

PASS_LIMIT = 1 << 20  # bytes of one file before others have their turn
TAIL = 64  # bytes before what is new that must still be what they were


@dataclasses.dataclass(slots=True)
class Watched:
    """`users` counts the processes, `watch` is 0 while no wake-up is asked for. Bytes before `late_to` were written when
    nobody looked, the last of them at `late_time`. `numbered` of its `size` when it was last looked at are done.
    """

    service_id: str
    source: Source
    fd: int
    watch: int = 0
    users: int = 1
    pending: Timer | None = None
    is_due: bool = False
    tail: bytes | None = None
    late_to: int = 0
    late_time: float = 0.0
    size: int = 0
    numbered: int = 0

    @property
    def key(self) -> str:
        return f"{self.service_id}/{self.source.file_name}"

    def forget_timer(self) -> None:
        if self.pending is not None:
            self.pending.cancel()
            self.pending = None

    def read(self, index: ServiceIndex, buffer: bytearray, now: float, *, final: bool) -> bool:
        """Number what is new; whether more of it waits, since only a final pass takes more than PASS_LIMIT. `buffer` has
        room for the bytes of one entry.
        """
        self.size = size = os.fstat(self.fd).st_size
        entries: list[Entry] = []
        offset, seq = index.positions.get(self.source, -1), index.next_seq
        if not self._continues(offset, size):
            offset = self._begin_again(offset, size)
            entries.append(log_index.lost(seq, 1, now, self.source, offset))
            seq += 1
        offset = max(0, offset)
        stop = size if final else min(size, offset + PASS_LIMIT)
        while offset < stop:
            got = os.preadv(self.fd, [buffer], offset)
            length = log_index.cut(buffer, got, final=final and offset + got >= size)
            if not length:
                break
            late = offset < self.late_to
            time = self.late_time if late else now
            entries.append(log_index.describe(seq, self.source, offset, buffer, length, time, late=late))
            seq, offset = entries[-1].next_seq, offset + length
            self.tail = bytes(buffer[max(0, length - TAIL) : length])
        if entries:
            index.append(entries)
        self.numbered = offset
        return stop <= offset < size

    def _continues(self, offset: int, size: int) -> bool:
        """Whether the file still begins with what was numbered."""
        if offset < 0:  # nothing of it was, unless its numbers were given up and the note of it is gone
            return not size or raw_log.first_data(self.fd, 0) == 0
        if offset > size:
            return False
        before = os.pread(self.fd, min(TAIL, offset), max(0, offset - TAIL))
        if self.tail is None:
            self.tail = before
        return before.endswith(self.tail)

    def _begin_again(self, offset: int, size: int) -> int:
        """Where to go on in a file that the program cut, or of which nobody knows any more how far it was numbered. How
        many lines are lost is not to be known; one number stands for them.
        """
        self.tail = None
        note(
            "log.truncated" if offset >= 0 else "log.place_unknown", service=self.service_id, file=self.source.file_name
        )
        return 0 if offset >= 0 else size
