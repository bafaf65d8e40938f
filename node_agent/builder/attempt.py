"""One build of one release, from its description to the sealed tree. Made by HostBuilder, used once."""

import asyncio
import contextlib
import dataclasses
import errno
import os
from collections.abc import AsyncIterator, Callable

import failpoints
from node_agent import clock, errors, ports
from node_agent.builder import archive, build_log, checkout, looking, manifest, mounts, refusals, reuse, seal, trees
from node_agent.builder.git import Git
from node_agent.builder.manifest import Manifest
from node_agent.builder.room import Room
from node_agent.builder.threads import in_thread
from node_agent.builder.toolchains import Toolchains
from node_agent.errors import ReleaseFailedError
from node_agent.model import decided, detect, process
from node_agent.model.spec import ReleaseSpec, Runtime
from node_agent.model.status import ReleaseState
from node_agent.paths import Paths

HAND_OVER_S = 300.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
SAYS_ITSELF = frozenset({"disk_full", "build_too_large"})
Progress = Callable[[ReleaseState, str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt works with. The semaphores are first come, first served."""

    paths: Paths
    room: Room
    supervisor: ports.Supervisor
    git: Git
    archives: ports.Archives
    toolchains: Toolchains
    clock: clock.Clock
    fetches: asyncio.Semaphore
    builds: asyncio.Semaphore
    build_s: float


class Attempt:
    def __init__(self, tools: Tools, service_id: str, release: ReleaseSpec, progress: Progress) -> None:
        self._tools = tools
        self._service_id = service_id
        self._release = release
        self._progress = progress
        self._tree = tools.paths.build_tree(service_id, release.number)
        self._log = build_log.BuildLog(tools.paths.log_file(service_id, "build", release.number, "stdout"))
        self._durations: list[tuple[str, float]] = []
        self._origin = 0
        self._wrote = False

    async def run(self) -> Manifest:
        """Raises ReleaseFailedError (also told in the build log), OSError, AgentError. Leaves no build tree."""
        try:
            return await self._bounded()
        except ReleaseFailedError as error:
            self._log.write(f"failed: {error}")
            raise
        except asyncio.CancelledError:
            self._log.write("cancelled")
            raise
        finally:
            await self._clear()

    async def _bounded(self) -> Manifest:
        """Within the quota and the room of the host's disk."""
        room, service_id = self._tools.room, self._service_id
        try:
            return await room.guarded(service_id, room.quota(self._release), self._run())
        except ReleaseFailedError as error:
            if error.code == "build_too_large":
                await room.clear(service_id, 0)
            elif error.code not in SAYS_ITSELF and (words := room.shortage(str(error))):
                raise ReleaseFailedError("disk_full", f"{words}; {error}") from error
            raise
        except OSError as error:
            if error.errno not in FULL:
                raise
            raise ReleaseFailedError("disk_full", room.shortage(refusals.NO_ROOM)) from error

    async def _run(self) -> Manifest:
        await self._tools.supervisor.prepare_build(self._service_id, self._release.number)
        await self._clear()
        if (former := await self._former()) is not None:
            return former
        async with self._step("fetch"):
            commit = await self._resolve()
        source = f"{commit} with submodules" if self._release.submodules else commit
        key = manifest.build_key(self._release, source)
        former = await in_thread(self._take_over, lambda found: found.key == key and self._is_fresh(found))
        if former is not None:
            self._progress(ReleaseState.BUILDING, commit)
            self._log.write(f"unchanged since release {former.release}: its build is used again")
            return await self._seal_again(former, commit, key)
        await self._fetch(commit)
        found = await in_thread(looking.look, self._tree, self._release)
        for line in found.words():
            self._log.write(line)
        looking.start_command(found.release, found.decision.run.reason)
        mounts.refuse_conflicts(self._tree, found.release)
        toolchain = await self._toolchain(found)
        async with self._tools.builds:
            self._progress(ReleaseState.BUILDING, commit)
            dependencies_key = await self._build(found, toolchain)
            static = found.release.runtime is Runtime.STATIC
            draft = self._draft(found, commit, key, dependencies_key, toolchain)
            return await self._seal(draft, found.release, static=static)

    def _discard(self) -> None:
        paths, number = self._tools.paths, self._release.number
        for place in (self._tree, seal.staging(paths, self._service_id, number)):
            trees.discard(paths, place)

    async def _former(self) -> Manifest | None:
        """The build that the release was told to use again, sealed as its own; None when it is not (or no longer) here."""
        number = self._release.build_of
        if not number:
            return None
        self._progress(ReleaseState.FETCHING, self._release.commit)
        former = await in_thread(self._take_over, lambda found: number in {found.release, found.origin})
        if former is None:
            self._log.write(f"the build of release {number} is no longer on this host: building again")
            return None
        self._progress(ReleaseState.BUILDING, former.commit)
        self._log.write(f"the build of release {number} is used again")
        return await self._seal_again(former, former.commit, former.key)

    # the source

    @failpoints.around("build.resolve")
    async def _resolve(self) -> str:
        """The commit that was journalled, or the head of the branch now; of an uploaded source its digest."""
        if self._is_uploaded:
            digest = archive.checked(self._release)
            self._progress(ReleaseState.FETCHING, digest)
            self._log.write(f"source uploaded, {digest[:12]}")
            return digest
        release, commit = self._release, self._release.commit.lower()
        self._progress(ReleaseState.FETCHING, commit)
        if not commit:
            async with self._tools.fetches:
                commit = await self._tools.git.resolve(release.remote, release.branch, release.access)
            self._progress(ReleaseState.FETCHING, commit)
        self._log.write(f"source {release.remote} branch {release.branch} at {commit[:12]}")
        return commit

    def _take_over(self, wanted: Callable[[Manifest], bool]) -> Manifest | None:
        toolchains = self._tools.paths.toolchains

        def usable(found: Manifest) -> bool:
            return wanted(found) and (not found.toolchain or (toolchains / found.toolchain / "bin").is_dir())

        former = reuse.whole(self._tools.paths, self._service_id, self._release.number, usable)
        if former is not None:
            self._origin = former.origin or former.release
        return former

    @property
    def _is_uploaded(self) -> bool:
        return self._release.source == "local"

    @failpoints.around("build.fetch")
    async def _fetch(self, commit: str) -> None:
        if self._is_uploaded:
            await self._unpack()
            return
        git, release = self._tools.git, self._release
        async with self._step("fetch"), self._tools.fetches:
            self._tree.mkdir(mode=0o700, parents=True)
            await checkout.write(git, release, commit, self._tree, self._log.write)

    @failpoints.around("archive.unpack")
    async def _unpack(self) -> None:
        tools, place = self._tools, self._tools.paths.archive(self._service_id, self._release.number)
        try:
            async with self._step("fetch"), tools.fetches:
                await archive.fetch(tools.archives, tools.paths, self._service_id, self._release)
                self._tree.mkdir(mode=0o700, parents=True)
                await self._hand_over(process.JobKind.OPEN)
                result = await self._run_job(archive.job(self._service_id, self._release))
                await self._hand_over(process.JobKind.SEAL)
        finally:
            archive.discard(place)
        if failure := archive.failure(result):
            raise failure

    # the toolchain

    @failpoints.around("toolchain.provide")
    async def _toolchain(self, found: looking.Look) -> str:
        """Its name; "" for what needs none."""
        runtime = found.toolchain_of
        if runtime is None:
            return ""
        async with self._step("toolchain"):
            name = await self._tools.toolchains.provide(runtime, found.release.version, found.manager)
        self._log.write(f"runtime {name.replace('-', ' ', 1)}")
        if warning := looking.warning(name, self._tools.clock.now()):
            self._log.write(f"warning: {warning}")
        return name

    def _is_fresh(self, former: Manifest) -> bool:
        """Would its toolchain be chosen again? One that came later may be better."""
        if not former.toolchain:
            return True
        base = former.toolchain.partition("+")[0]
        runtime = decided.effective(self._release, former.decided)
        kind = Runtime.NODEJS if base.startswith("node-") else runtime.runtime
        return self._tools.toolchains.best(kind, runtime.version) == base

    # the build

    @failpoints.around("build.run")
    async def _build(self, found: looking.Look, toolchain: str) -> str:
        """Run the commands; the key of the dependencies."""
        pip = self._tools.toolchains.bootstrap_pip(toolchain) if toolchain else ""
        plan = looking.plan(found, pip)
        key = self._dependencies_key(found, plan, toolchain)
        copied = await in_thread(self._copy_dependencies, found, plan, key)
        commands = plan.commands(copied=copied)
        if not commands:
            self._log.write("build: nothing to do" if copied else f"build: {plan.reason}")
        if commands:
            await self._hand_over(process.JobKind.OPEN)
        async with self._step("build"):
            deadline = self._tools.clock.monotonic() + self._tools.build_s
            for command in commands:
                self._log.write(f"build: {command}  ({plan.reason})")
                await self._job(found, command, toolchain, deadline)
        return key

    def _dependencies_key(self, found: looking.Look, plan: detect.BuildPlan, toolchain: str) -> str:
        if plan.dependencies is None:
            return ""
        locks = [f"{name}\n{found.files[name]}" for name in plan.dependencies.locks]
        return manifest.dependencies_key(found.release, toolchain, f"{plan.setup}\n{plan.command}", locks)

    def _copy_dependencies(self, found: looking.Look, plan: detect.BuildPlan, key: str) -> bool:
        if plan.dependencies is None:
            return False
        directory = os.path.normpath(os.path.join(found.release.working_dir, plan.dependencies.directory))  # noqa: PTH118
        paths, number = self._tools.paths, self._release.number
        is_built = bool(plan.commands(copied=True)) or found.release.runtime is Runtime.STATIC  # sealed otherwise
        former = reuse.dependencies(
            paths, self._service_id, number, directory, lambda sealed: sealed.dependencies_key == key, is_built=is_built
        )
        if former is not None:
            locks = ", ".join(plan.dependencies.locks)
            self._log.write(f"{directory} taken from release {former.release}: {locks} unchanged")
        return former is not None

    async def _job(self, found: looking.Look, command: str, toolchain: str, deadline: float) -> None:
        self._wrote = True
        release, left = found.release, deadline - self._tools.clock.monotonic()
        env = {**dict(detect.tool_env(found.decision)), **dict(release.build_env)}
        job = process.JobSpec(
            self._service_id,
            release.number,
            command,
            tuple(env.items()),
            toolchain,
            release.working_dir,
            max(left, 1.0),
        )
        if failure := _failure(command, await self._run_job(job), self._tools.build_s):
            raise failure

    async def _clear(self) -> None:
        """What a build left is its user's to write in, so the supervisor deletes it, where it has one of its own."""
        if self._wrote:
            await self._tools.room.clear(self._service_id, self._release.number)
        if self._tree.exists():
            with contextlib.suppress(errors.AgentError):
                await self._run_job(self._ours(process.JobKind.REMOVE))
        await in_thread(self._discard)

    def _ours(self, kind: process.JobKind, *, static: bool = False) -> process.JobSpec:
        service_id, number = self._service_id, self._release.number
        return process.JobSpec(service_id, number, "", (), "", "", HAND_OVER_S, kind, static=static)

    async def _hand_over(self, kind: process.JobKind, *, static: bool = False) -> None:
        """Let the user of the builds write into the tree, or nobody any more. What is `static` the proxy may read."""
        result = await self._run_job(self._ours(kind, static=static))
        if (result.outcome, result.code) != ("exited", 0):
            said = result.last_lines[-1] if result.last_lines else f"{result.outcome} {result.code}"
            raise ReleaseFailedError("bad_build_tree", f"cannot take the build for a release: {said[:500]}")

    async def _run_job(self, job: process.JobSpec) -> process.JobResult:
        try:
            return await self._tools.supervisor.run_job(job)
        except BaseException:
            # Also when the supervisor went away: its successor may still find the job.
            with contextlib.suppress(errors.AgentError):
                await asyncio.shield(self._tools.supervisor.cancel_job(job.id))
            raise

    # the end

    def _draft(
        self, found: looking.Look, commit: str, key: str, dependencies_key: str, toolchain: str
    ) -> Callable[[], Manifest]:
        """What is known of the release before it is sealed; to be asked when all of the build is gone."""
        return lambda: Manifest(
            release=self._release.number,
            commit=commit,
            key=key,
            dependencies_key=dependencies_key,
            toolchain=toolchain,
            static_root=looking.static_root(self._tree, found),
            run_cmd=looking.start_command(found.release),
            inventory="",
            files=0,
            bytes=0,
            sealed_at=self._tools.clock.now(),
            durations=tuple(self._durations),
            decided=found.rows,
        )

    async def _seal_again(self, former: Manifest, commit: str, key: str) -> Manifest:
        """The build of `former`, with the start that this release asks for, else with what the source says."""
        release = decided.effective(self._release, former.decided)
        run_cmd = looking.start_command(release)
        return await self._seal(
            lambda: dataclasses.replace(
                former,
                release=self._release.number,
                commit=commit,
                key=key,
                run_cmd=run_cmd,
                sealed_at=self._tools.clock.now(),
                durations=tuple(self._durations),
                origin=self._origin,
            ),
            release,
            static=former.static_root is not None,
        )

    async def _seal(self, draft: Callable[[], Manifest], release: ReleaseSpec, *, static: bool) -> Manifest:
        began = self._tools.clock.monotonic()
        paths, service_id, number = self._tools.paths, self._service_id, self._release.number
        await self._hand_over(process.JobKind.SEAL, static=static)
        done = await in_thread(lambda: seal.stage(paths, service_id, draft(), release))
        # A plain thread: a slow disk holds up no cancellation, and to flush what nobody wants any more does no harm.
        await asyncio.to_thread(trees.flush, seal.staging(paths, service_id, number))
        await in_thread(seal.publish, paths, service_id, number)
        took = self._tools.clock.monotonic() - began
        self._log.write(f"sealed: {done.files} entries, {done.bytes / 1e6:.1f} MB, {took:.1f} s")
        return done

    @contextlib.asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        began = self._tools.clock.monotonic()
        yield
        self._durations.append((name, round(self._tools.clock.monotonic() - began, 3)))


def _failure(command: str, result: process.JobResult, build_s: float) -> ReleaseFailedError | None:
    if result.outcome == "exited" and result.code == 0:
        return None
    if result.outcome == "timeout":
        return ReleaseFailedError("build_timeout", f"the build did not end within {build_s:g} s: `{command[:200]}`")
    return ReleaseFailedError("build_failed", f"`{command[:200]}` {result.words}")
