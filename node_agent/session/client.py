"""The agent's connection to the control plane, held up for ever.

It never decides anything about applications: without a connection they go on as they are. A fenced session stops for
good; a refused one keeps asking slowly, because a person may still repair the reason.
"""

import asyncio
import enum
import importlib.metadata
import pathlib
from collections.abc import Awaitable, Callable

import grpc
import structlog

from node_agent import clock as clocks
from node_agent import errors, ports
from node_agent.session import identity, stream
from node_agent.session.archives import HubArchives
from node_agent.session.settings import SessionSettings
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()

BOOT_ID = pathlib.Path("/proc/sys/kernel/random/boot_id")
REFUSALS = frozenset({grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED})


class Ending(enum.Enum):
    """Why an attempt ended, as far as it decides when the next one comes."""

    BROKEN = "broken"
    REFUSED = "refused"
    RENEWED = "renewed"


def next_delay(ending: Ending, failures: int, settings: SessionSettings, chance: clocks.Chance) -> float:
    """Seconds until the next attempt; jitter, so that a thousand agents do not come back at one moment."""
    if ending is Ending.RENEWED:
        return 0.0
    if ending is Ending.REFUSED:
        return settings.refused_s * chance.uniform(0.5, 1.0)
    longest = min(settings.backoff_max_s, settings.backoff_s * 2.0 ** min(failures, 16))
    return longest * chance.uniform(0.5, 1.0)


class Session:
    """`run` until cancelled. `connected` is True from the hub's welcome to the end of the stream."""

    def __init__(
        self,
        address: str,
        who: identity.Identity,
        *,
        inbox: ports.Inbox,
        spool: ports.Spool,
        log_reader: ports.LogReader,
        runner: ports.Runner,
        archives: HubArchives,
        facts: Callable[[], Awaitable[ports.HostFacts]],
        samples: Callable[[], Awaitable[ports.HostSample]],
        clock: clocks.Clock,
        chance: clocks.Chance,
        settings: SessionSettings | None = None,
    ) -> None:
        self.connected = False
        self._address = address
        self._identity = who
        self._settings = settings or SessionSettings()
        self._parts = stream.Parts(
            inbox=inbox,
            spool=spool,
            log_reader=log_reader,
            runner=runner,
            archives=archives,
            facts=facts,
            samples=samples,
            clock=clock,
            chance=chance,
            settings=self._settings,
            version=_version(),
            boot_id=BOOT_ID.read_text(encoding="ascii").strip(),
        )

    async def run(self) -> None:
        """Connect, again and again. Raises FencedError when a newer session holds the identity."""
        failures = 0
        while True:
            began = self._parts.clock.monotonic()
            ending = await self._attempt()
            lasted = self._parts.clock.monotonic() - began
            failures = 0 if lasted > self._settings.backoff_max_s else failures + 1
            await asyncio.sleep(next_delay(ending, max(failures - 1, 0), self._settings, self._parts.chance))

    async def _attempt(self) -> Ending:
        """One connection, from dialling to its end, whatever that is."""
        if self._parts.clock.now() >= self._identity.not_after:
            log.error("session.certificate_expired", next="delete the identity directory and join with a fresh token")
            return Ending.REFUSED
        try:
            await self._converse()
        except stream.Renewed as renewed:
            self._identity = renewed.identity
            log.info("session.renewed", instance=self._identity.instance_id)
            return Ending.RENEWED
        except errors.FencedError:
            raise
        except grpc.aio.AioRpcError as error:
            return self._explain(error)
        except (errors.AgentError, OSError, TimeoutError, asyncio.InvalidStateError) as error:
            log.warning("session.broken", hub=self._address, error=str(error) or type(error).__name__)
        return Ending.BROKEN

    async def _converse(self) -> None:
        async with self._identity.channel(self._address) as channel:
            talk = stream.Stream(rpc.HubStub(channel), self._parts, self._identity)
            try:
                welcome = await talk.open()
                self.connected = True
                log.info("session.connected", instance=welcome.instance_id, epoch=welcome.instance_epoch)
                await talk.run(welcome)
                log.info("session.ended", hub=self._address)
            finally:
                self.connected = False
                talk.close()

    def _explain(self, error: grpc.aio.AioRpcError) -> Ending:
        details = (error.details() or "")[:300]
        if error.code() in REFUSALS:
            log.error("session.refused", hub=self._address, code=error.code().name, details=details)
            return Ending.REFUSED
        log.warning("session.broken", hub=self._address, code=error.code().name, details=details)
        return Ending.BROKEN


def _version() -> str:
    try:
        return importlib.metadata.version("dployr")
    except importlib.metadata.PackageNotFoundError:  # run from the sources, not installed
        return "unknown"
