"""The log relay in memory: no agent, no wire."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from control_plane import errors
from control_plane.domain import values


class MemoryRelay:
    """Implements ports.LogRelay. `append` and `end` play the agent; an instance is away until `connect`."""

    def __init__(self) -> None:
        self._lines: dict[str, list[values.LogLine]] = {}
        self._connected: set[str] = set()
        self._deleted: set[str] = set()
        self._changed = asyncio.Condition()

    def connect(self, instance_id: str) -> None:
        self._connected.add(instance_id)

    async def append(self, service_id: str, *lines: values.LogLine) -> None:
        async with self._changed:
            self._lines.setdefault(service_id, []).extend(lines)
            self._changed.notify_all()

    async def end(self, service_id: str) -> None:
        """The log is deleted: followers end."""
        async with self._changed:
            self._deleted.add(service_id)
            self._changed.notify_all()

    async def read(self, instance_id: str, query: values.LogQuery) -> AsyncIterator[Sequence[values.LogLine]]:
        if instance_id not in self._connected:
            raise errors.UnavailableError(
                f"cannot read the log: instance {instance_id} is not connected", {"instance": instance_id}
            )
        lines = self._lines.setdefault(query.service_id, [])
        matching = [line for line in lines if _matches(line, query)]
        seen = len(lines)
        tail = matching if query.after_seq else matching[len(matching) - min(query.tail, len(matching)) :]
        if tail:
            yield tail
        while query.follow and not (query.service_id in self._deleted and len(lines) == seen):
            async with self._changed:
                while len(lines) == seen and query.service_id not in self._deleted:
                    await self._changed.wait()
            new, seen = [line for line in lines[seen:] if _matches(line, query)], len(lines)
            if new:
                yield new


def _matches(line: values.LogLine, query: values.LogQuery) -> bool:
    return (
        line.seq > query.after_seq
        and query.release in {0, line.release}
        and query.source in {"", "build" if line.process == "build" else "run"}
        and query.stream in {"", line.stream}
        and query.process in {"", line.process}
        and line.time >= query.since
        and not 0 < query.until < line.time
        and query.grep.encode() in line.line
    )
