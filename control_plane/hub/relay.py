"""Log lines on their way from the agent that stores them to one reader.

A reader's request goes down the instance's stream under an id that nobody can guess; the lines come up on a call of
their own. A follower outlives a restart of the agent: it waits a while for the next session and asks for what came
after its last line.
"""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import structlog

from control_plane import clock, errors
from control_plane.domain import values
from control_plane.hub import buffer, wire
from control_plane.hub.session import until_first
from control_plane.hub.settings import RelaySettings
from protos import agent_pb2 as pb

log = structlog.get_logger()


class Link(Protocol):
    """The way down to an instance: its session."""

    async def send(self, message: pb.HubMessage) -> None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Request:
    instance_id: str
    link: Link
    buffer: buffer.Buffer


class Relay:
    """Implements ports.LogRelay; sessions come and go by `attach` and `detach`, lines by `receive`."""

    def __init__(self, ids: clock.Ids, settings: RelaySettings | None = None) -> None:
        self._ids = ids
        self._settings = settings or RelaySettings()
        self._links: dict[str, Link] = {}
        self._arrived: dict[str, asyncio.Event] = {}
        self._requests: dict[str, _Request] = {}

    async def read(self, instance_id: str, query: values.LogQuery) -> AsyncIterator[Sequence[values.LogLine]]:
        link = self._links.get(instance_id)
        if link is None:
            raise _away(instance_id)
        while True:
            request_id, request = self._open(instance_id, link)
            try:
                await self._ask(request, wire.log_request(request_id, query))
                while True:
                    lines = await request.buffer.get()
                    query = dataclasses.replace(query, after_seq=max(query.after_seq, _last(lines)))
                    yield lines
            except buffer.Done:
                return
            except buffer.Lost as error:
                if not query.follow:
                    raise _away(instance_id) from error
            finally:
                await self._close(request_id, request)
            link = await self._back(instance_id, link)

    async def receive(self, instance_id: str, batches: AsyncIterator[pb.LogBatch]) -> None:
        """Give the batches of one call to their reader; returns when either side is done.

        A batch for a request that is over, or that was never made to this instance, ends the call.
        """
        async for first in batches:
            request = self._requests.get(first.request_id)
            if request is None or request.instance_id != instance_id:
                return
            try:
                await until_first(_pump(request.buffer, first, batches), request.buffer.closed.wait())
            except errors.DployrError as error:  # what it sent cannot be read, and would not be the next time
                await request.buffer.finish(errors.UnavailableError(error.message, {"instance": instance_id}))
                raise
            finally:
                await request.buffer.finish(buffer.Lost())  # no effect when the end was said
            return

    def attach(self, instance_id: str, link: Link) -> None:
        """`link` is the instance's session from now on."""
        self._links[instance_id] = link
        if event := self._arrived.pop(instance_id, None):
            event.set()

    async def detach(self, instance_id: str, link: Link) -> None:
        """The session has ended: its readers wait for the next one, or learn that it is away."""
        if self._links.get(instance_id) is link:
            del self._links[instance_id]
        for request in [request for request in self._requests.values() if request.link is link]:
            await request.buffer.finish(buffer.Lost())

    def _open(self, instance_id: str, link: Link) -> tuple[str, _Request]:
        request_id = self._ids.secret(16)
        waiting = buffer.Buffer(self._settings.max_batches, self._settings.max_bytes)
        self._requests[request_id] = request = _Request(instance_id, link, waiting)
        return request_id, request

    async def _ask(self, request: _Request, message: pb.HubMessage) -> None:
        try:
            async with asyncio.timeout(self._settings.send_s):
                await request.link.send(message)
        except TimeoutError as error:
            raise _away(request.instance_id) from error

    async def _close(self, request_id: str, request: _Request) -> None:
        del self._requests[request_id]
        await request.buffer.close()
        if self._links.get(request.instance_id) is request.link:
            try:
                async with asyncio.timeout(self._settings.send_s):
                    await request.link.send(wire.log_cancel(request_id))
            except TimeoutError:  # the call ends all the same at its next batch
                log.warning("hub.log_cancel_unsent", instance=request.instance_id)

    async def _back(self, instance_id: str, old: Link) -> Link:
        """The instance's next session; UnavailableError when none comes in time."""
        if self._links.get(instance_id) is old:  # only the call broke, or the session is about to
            await asyncio.sleep(self._settings.retry_s)
        if instance_id not in self._links:
            event = self._arrived.setdefault(instance_id, asyncio.Event())
            try:
                async with asyncio.timeout(self._settings.resume_s):
                    await event.wait()
            except TimeoutError as error:
                raise _away(instance_id) from error
        link = self._links.get(instance_id)
        if link is None:
            raise _away(instance_id)
        return link


async def _pump(waiting: buffer.Buffer, first: pb.LogBatch, batches: AsyncIterator[pb.LogBatch]) -> None:
    """Until the agent says `end`; a call that just stops was broken off."""
    batch = first
    while True:
        await waiting.put(tuple(wire.log_line(line) for line in batch.lines), caught_up=batch.caught_up)
        if batch.error:
            await waiting.finish(errors.UnavailableError(f"cannot read the log: {batch.error[: wire.MAX_TEXT]}"))
        if batch.end or batch.error:
            await waiting.finish()
            return
        try:
            batch = await anext(batches)
        except StopAsyncIteration:
            return


def _last(lines: Sequence[values.LogLine]) -> int:
    return max((max(line.seq, line.gap_to) for line in lines), default=0)


def _away(instance_id: str) -> errors.UnavailableError:
    return errors.UnavailableError(
        f"cannot read the log: instance {instance_id} is not connected; try again when it is back",
        {"instance": instance_id},
    )
