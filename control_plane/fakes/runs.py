"""One-off commands in memory: no agent, no wire."""

import asyncio
from collections.abc import AsyncIterator

from control_plane import errors
from control_plane.domain import values


class MemoryRuns:
    """Implements ports.Runs. An instance is away until `connect`, a service runs nothing until `serve`.

    Commands: `echo WORDS`, `exit N` and `hang`, joined by `;`. `cancelled` lists the runs that were closed before
    their end.
    """

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.asked: list[values.RunQuery] = []
        self._connected: set[str] = set()
        self._serving: set[str] = set()

    def connect(self, instance_id: str) -> None:
        self._connected.add(instance_id)

    def serve(self, service_id: str) -> None:
        """The service has a live release."""
        self._serving.add(service_id)

    async def run(self, instance_id: str, query: values.RunQuery) -> AsyncIterator[values.RunOutput]:
        if instance_id not in self._connected:
            raise errors.UnavailableError(
                f"cannot run the command: instance {instance_id} is not connected", {"instance": instance_id}
            )
        if query.service_id not in self._serving:
            raise errors.ConflictError(f"cannot run a command: service {query.service_id} has no live release")
        self.asked.append(query)
        ended = False
        try:
            async for piece in _interpret(query):
                ended = bool(piece.outcome)
                yield piece
        finally:
            if not ended:
                self.cancelled.append(query.run_id)


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
