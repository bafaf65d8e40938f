"""One-off commands: the request goes down the instance's stream, what the command writes comes up on a call of its own.

Nothing is dropped: a slow reader slows the agent down, and with it the command. A run has one agent session: when that
ends, so does the command. When only its call breaks, the agent says so on another one.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

import structlog

from control_plane import errors
from control_plane.domain import values
from control_plane.hub import wire
from control_plane.hub.relay import Link
from control_plane.hub.session import until_first
from control_plane.hub.settings import RunSettings
from protos import agent_pb2 as pb

log = structlog.get_logger()


class _Run:
    """What one reader waits for; `put` waits while it is full."""

    def __init__(self, instance_id: str, link: Link, max_pieces: int, what: str) -> None:
        self.instance_id, self.link, self.what = instance_id, link, what
        self.closed = asyncio.Event()
        self.begun = asyncio.Event()
        self._max_pieces = max_pieces
        self._pieces: collections.deque[values.RunOutput] = collections.deque()
        self._error: errors.DployrError | None = None
        self._changed = asyncio.Condition()

    async def put(self, piece: values.RunOutput) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._pieces) < self._max_pieces or self.closed.is_set())
            self._pieces.append(piece)
            self._changed.notify_all()

    async def fail(self, error: errors.DployrError) -> None:
        """The reader gets what waits, then the error."""
        async with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    async def get(self) -> values.RunOutput:
        async with self._changed:
            await self._changed.wait_for(lambda: self._pieces or self._error)
            if not self._pieces and self._error:
                raise self._error
            piece = self._pieces.popleft()
            self._changed.notify_all()
            return piece

    async def close(self) -> None:
        self.closed.set()
        async with self._changed:
            self._changed.notify_all()


class Runs:
    """Implements ports.Runs; sessions come and go by `attach` and `detach`, pieces by `receive`."""

    def __init__(self, settings: RunSettings | None = None) -> None:
        self._settings = settings or RunSettings()
        self._links: dict[str, Link] = {}
        self._runs: dict[str, _Run] = {}

    async def run(
        self, instance_id: str, query: values.RunQuery | values.VolumeQuery
    ) -> AsyncGenerator[values.RunOutput, None]:
        link = self._links.get(instance_id)
        if link is None:
            raise _away(instance_id, query.what)
        if query.run_id in self._runs:
            raise errors.ConflictError(f"cannot run {query.run_id} twice: it runs already")
        run = self._runs[query.run_id] = _Run(instance_id, link, self._settings.max_pieces, query.what)
        ended = False
        try:
            await self._ask(run, wire.run_request(query))
            await self._begin(run)
            due = asyncio.get_running_loop().time() + query.timeout_s
            while not ended:
                piece = await self._next(run, due)
                ended = bool(piece.outcome)
                yield piece
        finally:
            await self._close(query.run_id, run, cancel=not ended)

    async def receive(self, instance_id: str, pieces: AsyncIterator[pb.RunPiece]) -> None:
        """Give the pieces of one call to their reader; returns when either side is done.

        A piece of a run that is over, or that was never asked of this instance, ends the call.
        """
        async for first in pieces:
            run = self._runs.get(first.run_id)
            if run is None or run.instance_id != instance_id:
                return
            run.begun.set()
            try:
                await until_first(_pump(run, first, pieces), run.closed.wait())
            finally:
                await run.fail(_broken(run))  # no effect when the end was said
            return

    def attach(self, instance_id: str, link: Link) -> None:
        """`link` is the instance's session from now on."""
        self._links[instance_id] = link

    async def detach(self, instance_id: str, link: Link) -> None:
        """The session has ended, and with it what it ran."""
        if self._links.get(instance_id) is link:
            del self._links[instance_id]
        for run in [run for run in self._runs.values() if run.link is link]:
            run.begun.set()
            await run.fail(_away(instance_id, run.what))

    async def _begin(self, run: _Run) -> None:
        try:
            async with asyncio.timeout(self._settings.begin_s):
                await run.begun.wait()
        except TimeoutError as error:
            raise errors.UnavailableError(
                f"cannot run {run.what}: instance {run.instance_id} does not take it up; see that its agent is new enough",
                {"instance": run.instance_id},
            ) from error

    async def _next(self, run: _Run, due: float) -> values.RunOutput:
        """The next piece. What is `due` to have ended, and then is silent, never tells its end: do not wait for ever."""
        left = max(due - asyncio.get_running_loop().time(), 0.0) + self._settings.end_s
        try:
            async with asyncio.timeout(left):
                return await run.get()
        except TimeoutError as error:
            raise _broken(run) from error

    async def _ask(self, run: _Run, message: pb.HubMessage) -> None:
        try:
            async with asyncio.timeout(self._settings.send_s):
                await run.link.send(message)
        except TimeoutError as error:
            raise _away(run.instance_id, run.what) from error

    async def _close(self, run_id: str, run: _Run, *, cancel: bool) -> None:
        del self._runs[run_id]
        await run.close()
        if cancel and self._links.get(run.instance_id) is run.link:
            with contextlib.suppress(errors.DployrError):  # its call ends all the same at its next piece
                await self._ask(run, wire.run_cancel(run_id))


async def _pump(run: _Run, first: pb.RunPiece, pieces: AsyncIterator[pb.RunPiece]) -> None:
    """Until the agent says how it ended; a call that just stops was broken off."""
    piece = first
    while True:
        if piece.error:
            await run.fail(_refused(run.instance_id, piece))
            return
        if piece.data or piece.outcome:
            await run.put(wire.run_output(piece))
        if piece.outcome:
            return
        try:
            piece = await anext(pieces)
        except StopAsyncIteration:
            return


def _refused(instance_id: str, piece: pb.RunPiece) -> errors.DployrError:
    words = wire.text(piece.error)
    if piece.error_kind == "conflict":
        return errors.ConflictError(words)
    return errors.UnavailableError(words, {"instance": instance_id})


def _broken(run: _Run) -> errors.UnavailableError:
    return errors.UnavailableError(
        f"cannot tell how {run.what} ended: its output from instance {run.instance_id} broke off, and it is being ended; "
        "run it again",
        {"instance": run.instance_id},
    )


def _away(instance_id: str, what: str) -> errors.UnavailableError:
    return errors.UnavailableError(
        f"cannot run {what}: instance {instance_id} is not connected; try again when it is back",
        {"instance": instance_id},
    )
