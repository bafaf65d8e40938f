"""A change of the proxy as one transaction: stage, test, journal, switch, reload, see it answer; else undo.

Only nginx's answer on its private socket counts: a test that passes and a reload that returns prove nothing. The order
journal, link, reload must hold: whatever is interrupted, `recover` finds out which generation serves and settles it.
"""

import asyncio
import dataclasses
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import structlog

import failpoints
from node_agent import errors, ports
from node_agent.clock import Clock
from node_agent.paths import Paths
from node_agent.proxy import render, selection, status, words
from node_agent.proxy.generations import Change, Generations
from node_agent.proxy.latest import Latest
from node_agent.proxy.render import ProxySettings

log = structlog.get_logger()
ANSWER_S = 2.5  # undone within 3 s, and nginx itself gives up binding after 2.5 s
SETTLE_S = 0.12  # nginx's master leaves the former workers listening for 100 ms beside the new ones
POLL_S = 0.01

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class NginxProxy:
    """Implements ports.Proxy on the nginx that the supervisor keeps."""

    def __init__(self, paths: Paths, supervisor: ports.Supervisor, settings: ProxySettings, clock: Clock) -> None:
        own_user = "root" if nginx_uid(paths) == 0 else ""  # else its workers could not read the releases
        self._settings = dataclasses.replace(settings, run_as=settings.run_as or own_user)
        self._paths = paths
        self._supervisor = supervisor
        self._clock = clock
        self._disk = Generations(paths.proxy)
        self._socket = render.status_socket(paths)
        self._error_log = paths.nginx_log
        self._latest: Latest[tuple[ports.Site, ...], ports.ProxyState] = Latest(self._change)

    async def recover(self) -> None:
        """Finish or undo an interrupted change and see nginx answer. Raises ProxyError, SupervisorUnavailableError."""
        async with self._latest.lock:
            await self._recover()

    async def apply(self, sites: tuple[ports.Site, ...]) -> ports.ProxyState:
        """See ports.Proxy. Also raises SupervisorUnavailableError: then ask again, the former table is in force."""
        return await self._latest.ask(sites)

    # the change

    async def _change(self, sites: tuple[ports.Site, ...]) -> ports.ProxyState:
        before = self._disk.current()
        if before is None or self._disk.change() is not None:
            before = await self._recover()
        try:
            kept, refused = selection.admissible(sites, self._settings, self._paths)
        except ValueError as error:
            raise errors.ProxyError(f"cannot configure the proxy: {error}") from error
        if not await self._is_current(before, kept):
            before, rejected = await self._replace(before, kept)
            refused |= rejected
        if refused:
            log.warning("proxy.quarantined", generation=before, routes=sorted(refused))
        return ports.ProxyState(before, tuple(sorted(refused.items())))

    async def _is_current(self, generation: int, sites: tuple[ports.Site, ...]) -> bool:
        """Whether `sites` are what is on disk already; then nginx is made to answer with it, should it not."""
        if not await _blocking(self._disk.holds, generation, self._render(generation, sites)):
            return False
        await self._bring(generation)
        return True

    async def _replace(self, before: int, sites: tuple[ports.Site, ...]) -> tuple[int, dict[str, str]]:
        """The generation that serves afterwards, and the routes that nginx refused as they are wished."""
        after = await self._next()
        rejected: dict[str, str] = {}
        try:
            passes, _ = await self._test(after, sites)
            if not passes:
                sites, rejected = await self._sift(after, sites)
                if await self._is_current(before, sites):
                    await _blocking(self._disk.discard, after)
                    return before, rejected
                await self._demand(after, sites)
        except errors.AgentError:
            await _blocking(self._disk.discard, after)
            raise
        await self._switch(before, after)
        log.info("proxy.live", generation=after, routes=len(selection.route_ids(sites)))
        return after, rejected

    async def _switch(self, before: int, after: int) -> None:
        await _blocking(self._disk.begin, Change(before, after))
        try:
            await _blocking(self._disk.point, after)
            await self._load(after)
        except errors.AgentError as error:
            log.warning("proxy.undone", generation=after, error=str(error))
            await self._undo(before)
            raise
        await _blocking(self._disk.end)

    async def _undo(self, before: int) -> None:
        """Back to `before`. When even that cannot be seen the journal stays: the next change recovers first."""
        await _blocking(self._disk.point, before)
        try:
            await self._load(before)
        except errors.AgentError as error:
            log.error("proxy.undo_unseen", generation=before, error=str(error))
            return
        await _blocking(self._disk.end)

    # recovery

    async def _recover(self) -> int:
        """The generation that serves now: the one that `current` names, else the one before, else an empty one."""
        await _blocking(self._disk.prepare)
        change, current = self._disk.change(), self._disk.current()
        for candidate in dict.fromkeys((current, change.before if change else None)):
            if candidate is None or not self._disk.exists(candidate):
                continue
            try:
                await _blocking(self._disk.point, candidate)
                await self._bring(candidate, settle_s=SETTLE_S if change else 0.0)
            except errors.ProxyError as error:
                log.warning("proxy.recover_next", generation=candidate, error=str(error))
                continue
            await _blocking(self._disk.end)
            return candidate
        return await self._begin_anew()

    async def _begin_anew(self) -> int:
        """Nothing on disk can serve: 404 for every name, until the caller applies its table."""
        generation = await self._next()
        await self._demand(generation, ())
        await _blocking(self._disk.point, generation)
        await self._load(generation)
        await _blocking(self._disk.end)
        return generation

    # testing

    @failpoints.around("proxy.check")
    async def _test(self, generation: int, sites: tuple[ports.Site, ...]) -> tuple[bool, str]:
        await _blocking(self._disk.stage, generation, self._render(generation, sites))
        passes, text = await self._supervisor.proxy_test(generation)
        return passes, words.of(text, self._disk.directory(generation))

    async def _demand(self, generation: int, sites: tuple[ports.Site, ...]) -> None:
        passes, text = await self._test(generation, sites)
        if not passes:
            raise errors.ProxyError(f"cannot configure the proxy: nginx says: {text}")

    async def _sift(
        self, generation: int, sites: tuple[ports.Site, ...]
    ) -> tuple[tuple[ports.Site, ...], dict[str, str]]:
        """Find the routes that nginx refuses, by halves. Raises ProxyError when it refuses even an empty table."""
        await self._demand(generation, ())
        good: set[str] = set()
        rejected: dict[str, str] = {}
        waiting = [selection.route_ids(sites)]
        while waiting:
            suspects = waiting.pop()
            passes, text = await self._test(generation, selection.only(sites, good.union(suspects)))
            if passes:
                good.update(suspects)
            elif len(suspects) == 1:
                rejected[suspects[0]] = text
            else:
                half = len(suspects) // 2
                waiting += [suspects[half:], suspects[:half]]  # the older half first: it has the older right
        return await self._as_before(generation, selection.only(sites, good), rejected), rejected

    async def _as_before(
        self, generation: int, sites: tuple[ports.Site, ...], rejected: dict[str, str]
    ) -> tuple[ports.Site, ...]:
        """The table, and of the rejected routes those that nginx takes as they were served before."""
        for route_id in sorted(rejected):
            wider = selection.with_former(sites, route_id)
            if wider is not None and (await self._test(generation, wider))[0]:
                sites = wider
                rejected[route_id] += selection.AS_BEFORE
        return sites

    # nginx

    async def _bring(self, generation: int, settle_s: float = 0.0) -> None:
        """See that nginx answers with what `current` points to, and for `settle_s` nothing else; start or reload it only
        when it does not.
        """
        if await status.ask(self._socket) == generation and (not settle_s or await self._answers(generation, settle_s)):
            return
        passes, text = await self._supervisor.proxy_test(generation)
        if not passes:
            said = words.of(text, self._disk.directory(generation))
            raise errors.ProxyError(f"cannot serve generation {generation} from disk: nginx says: {said}")
        await self._load(generation)

    @failpoints.around("proxy.load")
    async def _load(self, generation: int) -> None:
        """Make nginx read `current` and see `generation` answer. Raises ProxyError with nginx's words."""
        mark = words.mark(self._error_log)
        try:
            status.remove_stale(self._socket)
            started = await self._supervisor.proxy_ensure()
            if not started:
                await self._supervisor.proxy_reload()
        except errors.SupervisorRefusedError as error:
            raise self._failure(generation, mark, str(error)) from error
        if not await self._answers(generation, settle_s=0.0 if started else SETTLE_S):
            raise self._failure(generation, mark, "nginx does not answer with it")

    async def _answers(self, generation: int, settle_s: float) -> bool:
        """Whether `generation`, and for `settle_s` no other, answers before the deadline."""
        began = self._clock.monotonic()
        first: float | None = None
        while True:
            answer, now = await status.ask(self._socket), self._clock.monotonic()
            first = (now if first is None else first) if answer == generation else None
            if first is not None and now - first >= settle_s:
                return True
            if first is None and now - began >= ANSWER_S:
                return False
            await asyncio.sleep(POLL_S)

    def _failure(self, generation: int, mark: int, reason: str) -> errors.ProxyError:
        said = words.of(words.since(self._error_log, mark), self._paths.proxy)
        return errors.ProxyError(
            f"cannot serve on {self._settings.host}:{self._settings.port} (generation {generation}): {reason}"
            + (f"; nginx says: {said}" if said else "")
            + "; see that no other process holds the address, then deploy again"
        )

    async def _next(self) -> int:
        """Above everything on disk and everything that nginx still answers with: a number never means two things."""
        known = self._disk.numbers()
        answer = await status.ask(self._socket)
        return max([-1, *known, *([] if answer is None else [answer])]) + 1

    def _render(self, generation: int, sites: tuple[ports.Site, ...]) -> dict[str, str]:
        return render.render(generation, sites, self._settings, self._paths)


def nginx_uid(paths: Paths) -> int:
    """Who nginx runs as. Where apps have users of their own it has one too, and its place belongs to that one."""
    return paths.nginx.stat().st_uid if paths.nginx.is_dir() else os.geteuid()


async def _blocking(function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
    """File work in a thread. When cancelled it waits for the end: the next change must not meet a running one."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise
