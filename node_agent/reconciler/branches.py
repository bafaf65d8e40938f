"""Where the branches of services point to, so that a push that nobody told of is seen.

One look at a time on this host, none while a release of the service is unfinished. A look that fails is no trouble of
the service: it is logged once, and tried again at its next turn.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from node_agent import errors, ports
from node_agent.clock import Chance, Clock
from node_agent.model import spec, status

log = structlog.get_logger()
BUSY_S = 10.0  # until the next look when a release is unfinished just now
IDLE_S = 3600.0

Source = tuple[str, str]


class Heads:
    """What was seen last. `woken` is set when a wish may have changed who is to be looked at."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._heads: dict[str, tuple[Source, str]] = {}

    def head(self, service_id: str, release: spec.ReleaseSpec | None) -> str:
        """The commit at the head of the branch that `release` names; "" when nobody has looked yet."""
        source, commit = self._heads.get(service_id, (("", ""), ""))
        return commit if release is not None and source == _source(release) else ""

    def put(self, service_id: str, release: spec.ReleaseSpec, commit: str) -> bool:
        """True when it is news."""
        news = self.head(service_id, release) != commit
        self._heads[service_id] = (_source(release), commit)
        return news


def is_followed(wish: spec.ServiceSpec) -> bool:
    """Is somebody interested in where its branch goes?"""
    followed = wish.run is spec.Run.RUNNING and wish.release is not None and wish.release.source == "remote"
    return followed and wish.poll_s > 0


class Branches:
    """`run` it; `changed(service_id)` is called when a head has moved."""

    def __init__(
        self,
        journal: ports.Journal,
        remote: ports.Remote,
        heads: Heads,
        clock: Clock,
        chance: Chance,
        changed: Callable[[str], None],
    ) -> None:
        self._journal, self._remote, self._heads = journal, remote, heads
        self._clock, self._chance, self._changed = clock, chance, changed
        self._due: dict[str, float] = {}
        self._failing: dict[str, str] = {}

    async def run(self) -> None:
        """For ever."""
        while True:
            self._heads.woken.clear()
            wishes = {wish.service_id: wish for wish, _ in await self._journal.wishes() if is_followed(wish)}
            self._plan(wishes)
            now = self._clock.monotonic()
            for service_id in sorted(self._due, key=self._due.__getitem__):
                if self._due[service_id] <= now:
                    await self._look(wishes[service_id])
            wait_s = min(self._due.values(), default=now + IDLE_S) - self._clock.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait_s)):
                    await self._heads.woken.wait()

    def _plan(self, wishes: dict[str, spec.ServiceSpec]) -> None:
        """New ones are spread over their interval; one whose interval became shorter is not waited for."""
        now = self._clock.monotonic()
        for service_id, wish in wishes.items():
            if service_id not in self._due:
                self._due[service_id] = now + wish.poll_s * self._chance.random()
            self._due[service_id] = min(self._due[service_id], now + wish.poll_s * 1.1)
        for service_id in set(self._due) - set(wishes):
            del self._due[service_id]

    async def _look(self, wish: spec.ServiceSpec) -> None:
        now = self._clock.monotonic()
        if wish.release is None or await self._is_unfinished(wish.service_id):
            self._due[wish.service_id] = now + min(float(wish.poll_s), BUSY_S)
            return
        try:
            commit = await self._remote.resolve(wish.release.remote, wish.release.branch, wish.release.access)
        except (errors.AgentError, OSError) as error:
            if self._failing.get(wish.service_id) != str(error):
                log.warning("branch.not_seen", service=wish.service_id, error=str(error))
            self._failing[wish.service_id] = str(error)
        else:
            self._failing.pop(wish.service_id, None)
            if self._heads.put(wish.service_id, wish.release, commit):
                log.info("branch.seen", service=wish.service_id, branch=wish.release.branch, commit=commit)
                self._changed(wish.service_id)
        self._due[wish.service_id] = self._clock.monotonic() + wish.poll_s * self._chance.uniform(0.9, 1.1)

    async def _is_unfinished(self, service_id: str) -> bool:
        return any(known.state in status.UNFINISHED for _, known in await self._journal.releases(service_id))


def _source(release: spec.ReleaseSpec) -> Source:
    return release.remote, release.branch
