"""An agent without a host: it joins, says that every service runs, and writes one line a second into one log for all.

    python -m benchmarks.hollow_agent DIRECTORY HUB ENROL TOKEN_FILE

Joins with the token when DIRECTORY holds no identity; prints `connected`, and runs until SIGTERM.
"""

import asyncio
import contextlib
import pathlib
import signal
import sys
import types
from collections.abc import AsyncIterator

from node_agent.model import log, spec, status
from node_agent.session import identity
from node_agent.session.settings import SessionSettings
from tests import hub_fixtures

LINE_S = 1.0
READERS = 500


class Inbox(hub_fixtures.Inbox):
    """Accepts a wish and reports at once that it is fulfilled."""

    def __init__(self, spool: hub_fixtures.Spool) -> None:
        super().__init__()
        self._spool = spool

    async def accept(self, wanted: spec.ServiceSpec) -> int:
        held = await super().accept(wanted)
        await self._spool.add(report(wanted))
        return held


class Logs(hub_fixtures.LogStore):
    """The same lines for every service."""

    async def read(self, query: log.LogQuery) -> AsyncIterator[log.LogBatch]:
        seen = len(self.lines)
        yield log.LogBatch(tuple(self.lines[max(0, seen - query.tail) :]), caught_up=True)
        while query.follow:
            async with self._changed:
                await self._changed.wait()
            for line in self.lines[seen:]:
                seen = line.seq
                yield log.LogBatch((line,))


def report(wanted: spec.ServiceSpec) -> status.ServiceReport:
    number = wanted.release.number
    return status.ServiceReport(
        service_id=wanted.service_id,
        observed_generation=wanted.generation,
        status="running",
        health="healthy",
        live_release=number,
        message="",
        releases=(status.ReleaseReport(number, status.ReleaseState.LIVE, commit="abcdef1", changed_at=5.0),),
        processes=(status.ProcessReport("web.1", number, "running", 4711, 20001, 6.0, 0, ""),),
        routes=(),
    )


async def run(directory: pathlib.Path, hub: str, enrol: str, token: str) -> None:
    agent = hub_fixtures.Agent(types.SimpleNamespace(address=hub), directory)
    agent.identity = identity.load(agent.paths) or await identity.enrol(agent.paths, token, enrol, "bench")
    agent.settings = SessionSettings(log_calls=READERS)
    agent.logs, agent.inbox = Logs(), Inbox(agent.spool)
    agent.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await agent.connected()
    print("connected", flush=True)
    while not stop.is_set():
        await agent.logs.append("a line of a log that somebody follows")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LINE_S)
    await agent.stop()


def main() -> int:
    directory, hub, enrol, token_file = sys.argv[1:]
    asyncio.run(run(pathlib.Path(directory), hub, enrol, pathlib.Path(token_file).read_text().strip()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
