"""A log on the disk without a supervisor: raw files and their index."""

import pathlib

from node_agent import raw_log
from node_agent.model import log_index, log_space
from node_agent.model.log_index import Source
from node_agent.paths import Paths
from node_agent.supervisor.service_index import ServiceIndex


class WrittenLog:
    """`write` appends to a raw file and to the index; `give_up` drops the oldest entries as the supervisor does."""

    def __init__(self, paths: Paths, service_id: str) -> None:
        self.paths, self.service_id = paths, service_id
        self.seq = 1
        paths.logs(service_id).mkdir(parents=True)

    def write(
        self,
        data: bytes,
        process: str = "web.1",
        release: int = 1,
        stream: str = "stdout",
        time: float = 1.5,
        *,
        late: bool = False,
    ) -> pathlib.Path:
        raw = self.paths.log_file(self.service_id, process, release, stream)
        offset = raw.stat().st_size if raw.exists() else 0
        with raw.open("ab") as file:
            file.write(data)
        entry = log_index.describe(self.seq, Source(process, release, stream), offset, data, len(data), time, late=late)
        with self.paths.log_index(self.service_id).open("ab") as file:
            file.write(log_index.pack(entry))
        self.seq = entry.next_seq
        return raw

    def write_many(self, count: int, process: str = "web.1") -> None:
        """One line for each second from 1 on, each an entry of its own."""
        raw = self.paths.log_file(self.service_id, process, 1, "stdout")
        source, offset, entries = Source(process, 1, "stdout"), 0, []
        with raw.open("xb") as file:
            for number in range(1, count + 1):
                data = b"%d\n" % number
                file.write(data)
                entry = log_index.describe(self.seq, source, offset, data, len(data), float(number))
                entries.append(log_index.pack(entry))
                self.seq, offset = entry.next_seq, offset + len(data)
        with self.paths.log_index(self.service_id).open("ab") as index:
            index.write(b"".join(entries))

    def give_up(self, count: int) -> None:
        index = ServiceIndex(self.paths.log_index(self.service_id))
        try:
            given = log_space.take(index.oldest(count), log_space.Cut(self.service_id, 1 << 60, 0.0))
            assert given is not None
            index.give_up(given.count, given.gap, raw_log.punch)
        finally:
            index.close()
