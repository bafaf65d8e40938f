"""One-off commands and volumes in memory: no agent, no wire."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator

from control_plane import errors
from control_plane.domain import values

Query = values.RunQuery | values.VolumeQuery


class MemoryRuns:
    """Implements ports.Runs. An instance is away until `connect`, a service runs nothing until `serve`.

    Commands: `echo WORDS`, `exit N` and `hang`, joined by `;`. `cancelled` lists the runs that were closed before
    their end. What `keep` put into a volume is written out, and what is restored into one is `restored`; `refuse` makes
    the next of either end with these words instead (and that outcome), a backup after what there is.
    """

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.asked: list[Query] = []
        self.restored: dict[tuple[str, str], str] = {}
        self._connected: set[str] = set()
        self._serving: set[str] = set()
        self._volumes: dict[tuple[str, str], bytes] = {}
        self._refusals: list[tuple[bytes, values.RunOutput]] = []

    def connect(self, instance_id: str) -> None:
        self._connected.add(instance_id)

    def serve(self, service_id: str) -> None:
        """The service has a live release."""
        self._serving.add(service_id)

    def keep(self, service_id: str, volume: str, data: bytes) -> None:
        """A backup of that volume is `data`."""
        self._volumes[service_id, volume] = data

    def refuse(self, words: str, outcome: str = "exited", code: int = 2) -> None:
        self._refusals.append((words.encode(), values.RunOutput(outcome=outcome, code=code)))

    async def run(self, instance_id: str, query: Query) -> AsyncGenerator[values.RunOutput, None]:
        if instance_id not in self._connected:
            raise errors.UnavailableError(
                f"cannot run {query.what}: instance {instance_id} is not connected", {"instance": instance_id}
            )
        if isinstance(query, values.RunQuery) and query.service_id not in self._serving:
            raise errors.ConflictError(f"cannot run a command: service {query.service_id} has no live release")
        self.asked.append(query)
        ended = False
        try:
            async for piece in _interpret(query) if isinstance(query, values.RunQuery) else self._of_volume(query):
                ended = bool(piece.outcome)
                yield piece
        finally:
            if not ended:
                self.cancelled.append(query.run_id)

    async def _of_volume(self, query: values.VolumeQuery) -> AsyncIterator[values.RunOutput]:
        place = (query.service_id, query.volume)
        if not query.archive and self._volumes.get(place):
            yield values.RunOutput("stdout", self._volumes[place])
        if self._refusals:
            words, last = self._refusals.pop(0)
            yield values.RunOutput("stderr", words)
            yield last
            return
        if query.archive:
            self.restored[place] = query.archive
        yield values.RunOutput(outcome="exited")


async def _interpret(query: values.RunQuery) -> AsyncIterator[values.RunOutput]:
    for step in query.command.split(";"):
        word, _, rest = step.strip().partition(" ")
        if word == "echo":
            yield values.RunOutput("stdout", f"{rest}\n".encode())
        elif word == "exit":
            yield values.RunOutput(outcome="exited", code=int(rest))
            return
        else:
            try:
                async with asyncio.timeout(query.timeout_s):
                    await asyncio.Event().wait()
            except TimeoutError:
                yield values.RunOutput(outcome="timeout", code=9)
                return
    yield values.RunOutput(outcome="exited")
