"""The room of this host's disk: who may begin a build, when one is ended, and which caches go. model/disk.py decides.

Builds begin one after the other, and nothing that one may be using is deleted while any runs.
"""

import asyncio
import contextlib
import os
import pathlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, NoReturn, TypeVar

import structlog

from node_agent import errors, ports
from node_agent.builder import manifest, mirrors, refusals, trees
from node_agent.builder.threads import in_thread
from node_agent.builder.trash import Trash
from node_agent.clock import Clock
from node_agent.errors import ReleaseFailedError
from node_agent.model import disk, process, spec
from node_agent.model.disk import Budgets, Space, Use
from node_agent.paths import Paths

log = structlog.get_logger()
FULL = "the disk of the host is full; delete what is not needed there"
LOOK_S = 0.1  # a look costs microseconds, and a fast disk takes 200 MB meanwhile
ROUND_S, OFTEN_S = 600.0, 10.0
SHARE = 20  # of the time, one part at most is spent measuring
T = TypeVar("T")


class Room:
    """`run` it as a task: it measures now and then, and after builds, and deletes caches that are too many."""

    def __init__(
        self, paths: Paths, supervisor: ports.Supervisor, clock: Clock, trash: Trash, budgets: Budgets | None = None
    ) -> None:
        self.budgets = budgets or Budgets()
        self.measured: disk.Measured = {}
        self.measured_at = 0.0
        self._paths, self._supervisor, self._clock, self._trash = paths, supervisor, clock, trash
        self._building: set[tuple[str, int]] = set()
        self._beginning = asyncio.Lock()
        self._woken = asyncio.Event()
        self._woken.set()

    def space(self) -> Space:
        """Of the file system that holds the data directory."""
        found = os.statvfs(self._paths.root)
        block = found.f_frsize
        return Space(found.f_blocks * block, found.f_bavail * block, found.f_files, found.f_favail)

    def quota(self, release: spec.ReleaseSpec) -> Use:
        """What a build of the release may take."""
        build = self.budgets.build
        return Use(release.resources.disk_bytes or build.bytes, build.entries)

    def building(self, service_id: str) -> frozenset[int]:
        """The releases of the service that are being built."""
        return frozenset(number for service, number in self._building if service == service_id)

    def told(self) -> dict[str, Any]:
        """For the samples: the disk now, and what used it when that was measured last."""
        now = self.space()
        return disk.told(now, disk.reserve(now, self.budgets), self.measured, self.measured_at)

    # a build

    @contextlib.asynccontextmanager
    async def entered(self, service_id: str, release: int) -> AsyncIterator[None]:
        """There is room for the build inside the block. Raises ReleaseFailedError("disk_full") when there is none."""
        async with self._beginning:
            await self._admit(service_id, await in_thread(_last, self._paths, service_id))
            self._building.add((service_id, release))
        try:
            yield
        finally:
            self._building.discard((service_id, release))
            self._trash.wake()
            self._woken.set()

    async def guarded(self, service_id: str, quota: Use, work: Coroutine[Any, Any, T]) -> T:
        """What `work` answers. It is cancelled when it uses too much, or leaves the host too little:
        ReleaseFailedError("build_too_large" or "disk_full"), once its own end is done.
        """
        working = asyncio.ensure_future(work)
        watching = asyncio.create_task(self._watch(service_id, quota, self.space()), name=f"disk of {service_id}")
        try:
            await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
            return await (working if working.done() else watching)
        finally:
            for task in (working, watching):
                task.cancel()
            await asyncio.gather(working, watching, return_exceptions=True)

    async def _watch(self, service_id: str, quota: Use, before: Space) -> NoReturn:
        """Raises ReleaseFailedError. Cheap: the tree is measured only when the disk says that it may be too large."""
        known, looked = disk.NOTHING, self._clock.monotonic()
        pause_s = LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            now = self.space()
            if self._missing(disk.NOTHING):
                raise ReleaseFailedError("disk_full", self.full())
            began = self._clock.monotonic()
            if not disk.must_look(quota, known, before, now, began - looked):
                pause_s = LOOK_S
                continue
            with contextlib.suppress(errors.AgentError):  # it is restarting: the next look finds it
                known, before = disk.of_build(await self._supervisor.measure(service_id), service_id), now
                looked = self._clock.monotonic()
            if disk.is_beyond(quota, known):
                raise ReleaseFailedError("build_too_large", disk.too_large(known, quota))
            pause_s = max(LOOK_S, 4 * (looked - began))  # never more than a fifth of a processor

    def shortage(self, said: str) -> str:
        """Why a build failed that said this, when it was for want of room; else ""."""
        now = self.space()
        kept = disk.reserve(now, self.budgets)
        if disk.missing(now, Use(max(kept.bytes, disk.MIB), max(kept.entries, 1)), disk.NOTHING):
            return self.full()
        return f"cannot build: {FULL}" if refusals.NO_ROOM in said else ""

    def full(self) -> str:
        """The sentence for a build that met a full disk."""
        now = self.space()
        return disk.full(now, disk.reserve(now, self.budgets))

    async def clear(self, service_id: str, release: int) -> None:
        """The temporary files of a service's builds; without a release their caches too. None of them may run."""
        job = process.JobSpec(service_id, release, "", (), "", "", trees.DELETE_S, process.JobKind.CLEAR)
        with contextlib.suppress(errors.AgentError):
            await self._supervisor.run_job(job)

    async def _admit(self, service_id: str, last: Use | None) -> None:
        wanted = disk.need(last, self.budgets)
        if self._missing(wanted) is None:
            return
        await self._make_room(wanted)
        if self._missing(wanted) is not None:
            now = self.space()
            kept = disk.reserve(now, self.budgets)
            raise ReleaseFailedError("disk_full", disk.refusal(now, kept, wanted, self.measured, service_id))

    def _missing(self, wanted: Use) -> Use | None:
        now = self.space()
        return disk.missing(now, disk.reserve(now, self.budgets), wanted)

    # caches

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._woken.clear()
            began = self._clock.monotonic()
            try:
                await self._measure()
                async with self._beginning:
                    await self._delete(self._missing(disk.NOTHING) or disk.NOTHING)
            except (errors.AgentError, OSError) as error:  # the next round tries again
                log.warning("disk.round_failed", error=str(error))
            await asyncio.sleep(max(OFTEN_S, SHARE * (self._clock.monotonic() - began)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ROUND_S):
                    await self._woken.wait()

    async def _measure(self) -> None:
        self.measured = await self._supervisor.measure()
        self.measured_at = self._clock.now()

    async def _make_room(self, wanted: Use) -> None:
        await self._trash.empty()
        with contextlib.suppress(errors.AgentError):
            await self._measure()
            if (short := self._missing(wanted)) is not None:
                await self._delete(short)
                await self._trash.empty()

    async def _delete(self, wanted: Use) -> None:
        """Called under the lock: no build begins meanwhile."""
        used = await in_thread(_toolchains_of, self._paths, disk.services(self.measured))

        def is_used(path: str) -> bool:
            top, _, name = path.partition("/")
            if top == "services":
                return bool(self.building(name.partition("/")[0]))
            return name in used or (bool(self._building) and not disk.is_mirror(path))

        for path in disk.victims(self.measured, is_used, self.budgets, self._clock.now(), wanted):
            log.info("disk.cache_deleted", path=path, bytes=self.measured[path].bytes)
            if path.startswith("services/"):
                await self.clear(path.split("/")[1], 0)
            else:
                await in_thread(self._discard, path, self.measured[path].used_at)
        self._trash.wake()

    def _discard(self, path: str, used_at: float) -> None:
        place = self._paths.root / path
        if disk.is_mirror(path):
            mirrors.delete(place)
        elif _unused_since(place, used_at):
            trees.discard(self._paths, place)


def _unused_since(place: pathlib.Path, used_at: float) -> bool:
    """A toolchain that was asked for since it was measured stays."""
    try:
        return place.stat().st_mtime <= used_at
    except OSError:
        return False


def _last(paths: Paths, service_id: str) -> Use | None:
    """What the newest sealed release of the service takes."""
    names = [place.name for place in trees.children(paths.releases(service_id)) if place.name.isdigit()]
    found = (manifest.size(paths.release(service_id, number)) for number in sorted(map(int, names), reverse=True))
    return next((Use(*size) for size in found if size is not None), None)


def _toolchains_of(paths: Paths, services: frozenset[str]) -> frozenset[str]:
    """Of every sealed release, with the parts that they are put together from."""
    releases = (place for service in services for place in trees.children(paths.releases(service)))
    names = {manifest.toolchain(place) for place in releases}
    return frozenset(names | {part for name in names for part in name.split("+")})
