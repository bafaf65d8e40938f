"""One stream of one instance, from its welcome to its end.

Down go wishes, each again until it is acknowledged; up come acknowledgements, reports and heartbeats. A report is
acknowledged when it is stored, or when it never can be. Everything that is sent passes one bounded queue with one
writer, so an agent that does not read costs bounded memory and slows down nobody but itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any

import structlog

import failpoints
from control_plane import clock, errors
from control_plane.domain import values
from control_plane.hub import wire
from control_plane.hub.parts import Services
from control_plane.hub.refusals import Refusals
from control_plane.hub.settings import HubSettings
from protos import agent_pb2 as pb

log = structlog.get_logger()

QUEUE = 64
RETRY = frozenset({errors.Kind.UNAVAILABLE, errors.Kind.RATE_LIMITED})

Sent = dict[str, tuple[int, float]]  # service id → (generation, when)


def due(wishes: Iterable[values.Desired], sent: Sent, now: float, resend_s: float) -> tuple[values.Desired, ...]:
    """Those that were never sent in this generation, or so long ago that they may be lost."""

    def is_due(wish: values.Desired) -> bool:
        generation, at = sent.get(wish.service_id, (0, 0.0))
        return generation != wish.generation or now - at >= resend_s

    return tuple(wish for wish in wishes if is_due(wish))


async def until_first(*jobs: Coroutine[Any, Any, Any]) -> None:
    """Run `jobs` until one of them ends, end the others, and raise what any of them raised."""
    tasks = [asyncio.create_task(job) for job in jobs]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


class Session:
    """`known` is what the agent said to hold; it grows with acknowledgements only."""

    def __init__(
        self,
        instance_id: str,
        epoch: int,
        known: dict[str, int],
        services: Services,
        settings: HubSettings,
        now: clock.Clock,
        refusals: Refusals,
    ) -> None:
        self.instance_id = instance_id
        self.epoch = epoch
        self._known = known
        self._services = services
        self._settings = settings
        self._clock = now
        self._queue: asyncio.Queue[pb.HubMessage | None] = asyncio.Queue(QUEUE)
        self._ended = asyncio.Event()
        self._farewell: pb.HubMessage | None = None
        self._sent: Sent = {}
        self._refusals = refusals
        self._log = log.bind(instance=instance_id, epoch=epoch)

    async def run(
        self, messages: AsyncIterator[pb.AgentMessage], write: Callable[[pb.HubMessage], Awaitable[None]]
    ) -> None:
        """Serve the stream until the agent leaves, falls silent, or `end` is called."""
        welcome = pb.Welcome(
            instance_id=self.instance_id,
            instance_epoch=self.epoch,
            heartbeat_s=self._settings.heartbeat_s,
            sample_s=self._settings.sample_s,
        )
        self._queue.put_nowait(pb.HubMessage(welcome=welcome))
        await until_first(self._write(write), self._work(messages))

    async def send(self, message: pb.HubMessage) -> None:
        """Queue `message`; waits while the agent is slow. Nothing when the session has ended."""
        if not self._ended.is_set():
            await self._queue.put(message)

    def end(self, fenced: str = "") -> None:
        """Take nothing more from this stream and close it; `fenced` tells the agent why it must stop acting."""
        if fenced:
            self._farewell = pb.HubMessage(fenced=pb.Fenced(reason=fenced))
        self._ended.set()

    async def _write(self, write: Callable[[pb.HubMessage], Awaitable[None]]) -> None:
        while (message := await self._queue.get()) is not None:
            await write(message)

    async def _work(self, messages: AsyncIterator[pb.AgentMessage]) -> None:
        """Ends after the others so that the writer can say farewell; the writer ends first when it can."""
        await until_first(self._receive(messages), self._send_wishes(), self._ended.wait())
        self._ended.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        if self._farewell is not None:
            self._queue.put_nowait(self._farewell)
        self._queue.put_nowait(None)
        await asyncio.sleep(self._settings.farewell_s)

    async def _send_wishes(self) -> None:
        resend_s = self._settings.resend_s
        while True:
            for wish in due(await self._newer(), self._sent, self._clock.monotonic(), resend_s):
                await self._send_wish(wish)
            await self._services.notifier.wait(self.instance_id, resend_s)

    @failpoints.around("wish.send")
    async def _send_wish(self, wish: values.Desired) -> None:
        self._sent[wish.service_id] = (wish.generation, self._clock.monotonic())
        await self.send(wire.desired(wish))

    async def _newer(self) -> tuple[values.Desired, ...]:
        try:
            return await self._services.desired.newer_than(self.instance_id, self._known)
        except errors.DployrError as error:
            self._log.warning("hub.wishes_unread", error=str(error))
            return ()  # the next turn asks again

    async def _receive(self, messages: AsyncIterator[pb.AgentMessage]) -> None:
        try:
            while True:
                async with asyncio.timeout(self._settings.lease_s):
                    message = await anext(messages)
                await self._handle(message)
        except StopAsyncIteration:
            return
        except TimeoutError:
            self._log.warning("hub.silent", lease_s=self._settings.lease_s)

    async def _handle(self, message: pb.AgentMessage) -> None:
        try:
            match message.WhichOneof("message"):
                case "ack":
                    await self._acknowledged(message.ack)
                case "report":
                    await self._report(message.report)
                case "heartbeat":
                    await self._heartbeat()
                case _:
                    pass  # a word of a newer agent
        except errors.DployrError as error:
            await self._note(message, error)
        except Exception:  # a defect of ours: what this message says must not hold up what the next one says
            self._log.exception("hub.defect", what=message.WhichOneof("message"))

    async def _heartbeat(self) -> None:
        try:
            await self._services.instances.heartbeat(self.instance_id, self.epoch)
        except errors.ForbiddenError as error:  # it was removed meanwhile
            self.end(fenced=error.message)

    async def _acknowledged(self, ack: pb.Ack) -> None:
        if ack.service_id not in self._sent:
            raise errors.ForbiddenError("cannot take the acknowledgement: no wish for that service was sent here")
        await self._services.desired.acknowledged(self.instance_id, ack.service_id, ack.generation)
        self._known[ack.service_id] = max(ack.generation, self._known.get(ack.service_id, 0))

    async def _report(self, message: pb.StatusReport) -> None:
        try:
            await self._services.status.record(self.instance_id, self.epoch, wire.report(message))
        except errors.DployrError as error:
            if error.kind in RETRY:
                raise  # not acknowledged: the agent says it again
            await self._note(pb.AgentMessage(report=message), error)
        await self.send(pb.HubMessage(report_ack=pb.ReportAck(sequence=message.sequence)))

    async def _note(self, message: pb.AgentMessage, error: errors.DployrError) -> None:
        """Log what was not taken; what an instance may not do is audited."""
        what = message.WhichOneof("message")
        self._log.warning("hub.not_taken", what=what, error=error.message, kind=error.kind.value)
        if error.kind is not errors.Kind.FORBIDDEN or not self._refusals.take(self.instance_id):
            return
        target = message.ack.service_id if what == "ack" else message.report.service_id
        with contextlib.suppress(errors.DployrError):  # the log has it already
            await self._services.audit.refused(self.instance_id, target[: wire.MAX_WORD], error.message)
