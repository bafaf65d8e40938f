"""One build of one release, from its description to the sealed tree. Made by HostBuilder, used once."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
from collections.abc import AsyncIterator, Callable

from node_agent import clock, errors, ports
from node_agent.builder import archive, build_log, manifest, reuse, seal, trees
from node_agent.builder.git import Git
from node_agent.builder.manifest import Manifest
from node_agent.builder.threads import in_thread
from node_agent.builder.toolchains import Toolchains
from node_agent.errors import ReleaseFailedError
from node_agent.model import detect, process
from node_agent.model.spec import ReleaseSpec, Runtime
from node_agent.model.status import ReleaseState
from node_agent.paths import Paths

MAX_READ = 16 << 20
LAST_LINES = 5
HAND_OVER_S = 300.0
Progress = Callable[[ReleaseState, str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt works with. The semaphores are first come, first served."""

    paths: Paths
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

    async def run(self) -> Manifest:
        """Raises ReleaseFailedError (also told in the build log), OSError, AgentError. Leaves no build tree."""
        try:
            return await self._run()
        except ReleaseFailedError as error:
            self._log.write(f"failed: {error}")
            raise
        except asyncio.CancelledError:
            self._log.write("cancelled")
            raise
        finally:
            await self._clear()

    async def _run(self) -> Manifest:
        await self._tools.supervisor.prepare_build(self._service_id, self._release.number)
        await self._clear()
        if (former := await self._former()) is not None:
            return former
        async with self._step("fetch"):
            commit = await self._resolve()
        toolchain = await self._toolchain()
        key = manifest.build_key(self._release, commit, toolchain)
        former = await in_thread(self._take_over, lambda found: found.key == key)
        if former is not None:
            self._progress(ReleaseState.BUILDING, commit)
            self._log.write(f"unchanged since release {former.release}: its build is used again")
            return await self._seal(commit, key, former.dependencies_key, former.toolchain)
        await self._fetch(commit)
        async with self._tools.builds:
            self._progress(ReleaseState.BUILDING, commit)
            dependencies_key, toolchain = await self._build(toolchain)
            return await self._seal(commit, key, dependencies_key, toolchain)

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
        return await self._seal(former.commit, former.key, former.dependencies_key, former.toolchain)

    # the source

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
                commit = await self._tools.git.resolve(release.remote, release.branch, release.git_token)
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

    async def _fetch(self, commit: str) -> None:
        if self._is_uploaded:
            await self._unpack()
            return
        git, release = self._tools.git, self._release
        async with self._step("fetch"), self._tools.fetches:
            mirror = await git.fetch(release.remote, commit, release.branch, release.git_token)
            self._tree.mkdir(mode=0o700, parents=True)
            await git.checkout(mirror, commit, self._tree)

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

    async def _toolchain(self, runtime: Runtime | None = None) -> str:
        """Its name; "" for a static site, which may get one when its source is known."""
        runtime = runtime or self._release.runtime
        if runtime is Runtime.STATIC:
            return ""
        async with self._step("toolchain"):
            name = await self._tools.toolchains.provide(runtime, self._release.version)
        self._log.write(f"runtime {name.replace('-', ' ', 1)}")
        return name

    # the build

    async def _build(self, toolchain: str) -> tuple[str, str]:
        """Run the commands; the key of the dependencies, and the toolchain that was used."""
        release = self._release
        files = await in_thread(self._files)
        self._start_command(files)
        if release.runtime is Runtime.STATIC and release.build_cmd and "package.json" in files:
            toolchain = await self._toolchain(Runtime.NODEJS)
        pip = self._tools.toolchains.bootstrap_pip(toolchain) if toolchain else ""
        plan = detect.plan_build(release.runtime, release.build_cmd, files, pip)
        key = self._dependencies_key(plan, files, toolchain)
        copied = await in_thread(self._copy_dependencies, plan, key)
        commands = plan.commands(copied=copied)
        if not commands:
            self._log.write("build: nothing to do" if copied else f"build: {plan.reason}")
        if commands:
            await self._hand_over(process.JobKind.OPEN)
        async with self._step("build"):
            deadline = self._tools.clock.monotonic() + self._tools.build_s
            for command in commands:
                self._log.write(f"build: {command}  ({plan.reason})")
                await self._job(command, toolchain, deadline)
        return key, toolchain

    def _directory(self) -> pathlib.Path:
        """The working directory, which must be one, inside the tree."""
        found = seal.inside(self._tree, self._release.working_dir)
        if found is None or not found.is_dir():
            raise ReleaseFailedError(
                "bad_working_dir",
                f"cannot use working_dir {self._release.working_dir!r}: it is not a directory inside the repository",
            )
        return found

    def _files(self) -> dict[str, str]:
        """Names in the working directory, with the text of those that decisions are made from."""
        files = {}
        for place in self._directory().iterdir():
            text = _text(self._tree, f"{self._release.working_dir}/{place.name}") if place.name in detect.READ else ""
            if text is not None:
                files[place.name] = text
        return files

    def _dependencies_key(self, plan: detect.BuildPlan, files: dict[str, str], toolchain: str) -> str:
        if plan.dependencies is None:
            return ""
        locks = [f"{name}\n{files[name]}" for name in plan.dependencies.locks]
        return manifest.dependencies_key(self._release, toolchain, f"{plan.setup}\n{plan.command}", locks)

    def _copy_dependencies(self, plan: detect.BuildPlan, key: str) -> bool:
        if plan.dependencies is None:
            return False
        directory = os.path.normpath(os.path.join(self._release.working_dir, plan.dependencies.directory))  # noqa: PTH118
        paths, number = self._tools.paths, self._release.number
        former = reuse.dependencies(
            paths, self._service_id, number, directory, lambda found: found.dependencies_key == key
        )
        if former is not None:
            locks = ", ".join(plan.dependencies.locks)
            self._log.write(f"{directory} copied from release {former.release}: {locks} unchanged")
        return former is not None

    async def _job(self, command: str, toolchain: str, deadline: float) -> None:
        release, left = self._release, deadline - self._tools.clock.monotonic()
        job = process.JobSpec(
            self._service_id, release.number, command, release.build_env, toolchain, release.working_dir, max(left, 1.0)
        )
        if failure := _failure(command, await self._run_job(job), self._tools.build_s):
            raise failure

    async def _clear(self) -> None:
        """What a build left is its user's to write in, so the supervisor deletes it, where it has one of its own."""
        if self._tree.exists():
            with contextlib.suppress(errors.AgentError):
                await self._run_job(self._ours(process.JobKind.REMOVE))
        await in_thread(self._discard)

    def _ours(self, kind: process.JobKind) -> process.JobSpec:
        static = kind is process.JobKind.SEAL and self._release.runtime is Runtime.STATIC
        service_id, number = self._service_id, self._release.number
        return process.JobSpec(service_id, number, "", (), "", "", HAND_OVER_S, kind, static=static)

    async def _hand_over(self, kind: process.JobKind) -> None:
        """Let the user of the builds write into the tree, or nobody any more."""
        result = await self._run_job(self._ours(kind))
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

    def _start_command(self, files: dict[str, str]) -> str:
        release = self._release
        command = detect.start_command(release.runtime, release.run_cmd, files)
        if not command and release.runtime is not Runtime.STATIC:
            raise ReleaseFailedError(
                "no_run_cmd", "cannot tell how to start the application: set run_cmd, or add a Procfile with `web: …`"
            )
        return command

    def _static_root(self) -> str | None:
        """The directory to serve, relative to the tree."""
        release = self._release
        if release.runtime is not Runtime.STATIC:
            return None
        directory = self._directory()
        places = (".", *detect.STATIC_DIRS)
        with_index = [name for name in places if (directory / name / "index.html").is_file()]
        name = detect.static_dir(release.static_dir, built=bool(release.build_cmd), with_index=with_index)
        if name is None:
            raise ReleaseFailedError("bad_static_dir", "cannot find an index.html to serve: set static_dir")
        root = os.path.normpath(os.path.join(release.working_dir, name))  # noqa: PTH118 - relative, compared as text
        found = seal.inside(self._tree, root)
        if found is None or not found.is_dir() or ".." in name.split("/"):
            raise ReleaseFailedError(
                "bad_static_dir",
                f"cannot serve static_dir {release.static_dir!r}: it is not a directory inside the build",
            )
        return root

    async def _seal(self, commit: str, key: str, dependencies_key: str, toolchain: str) -> Manifest:
        began = self._tools.clock.monotonic()
        paths, service_id, number = self._tools.paths, self._service_id, self._release.number
        await self._hand_over(process.JobKind.SEAL)
        done, listing = await in_thread(self._stage, commit, key, dependencies_key, toolchain)
        # A plain thread: a slow disk holds up no cancellation, and to flush what nobody wants any more does no harm.
        await asyncio.to_thread(trees.flush, seal.staging(paths, service_id, number))
        await in_thread(seal.publish, paths, service_id, done, listing)
        took = self._tools.clock.monotonic() - began
        self._log.write(f"sealed: {done.files} entries, {done.bytes / 1e6:.1f} MB, {took:.1f} s")
        return done

    def _stage(self, commit: str, key: str, dependencies_key: str, toolchain: str) -> tuple[Manifest, bytes]:
        draft = Manifest(
            release=self._release.number,
            commit=commit,
            key=key,
            dependencies_key=dependencies_key,
            toolchain=toolchain,
            static_root=self._static_root(),
            run_cmd=self._start_command(self._files()),
            inventory="",
            files=0,
            bytes=0,
            sealed_at=self._tools.clock.now(),
            durations=tuple(self._durations),
            origin=self._origin,
        )
        return seal.stage(self._tools.paths, self._service_id, draft)

    @contextlib.asynccontextmanager
    async def _step(self, name: str) -> AsyncIterator[None]:
        began = self._tools.clock.monotonic()
        yield
        self._durations.append((name, round(self._tools.clock.monotonic() - began, 3)))


def _text(tree: pathlib.Path, name: str) -> str | None:
    """The text of a regular file that really lies in the tree; None for everything else."""
    real = seal.inside(tree, name.lstrip("/"))
    if real is None or not real.is_file() or real.stat().st_size > MAX_READ:
        return None
    return real.read_text(encoding="utf-8", errors="replace")


def _failure(command: str, result: process.JobResult, build_s: float) -> ReleaseFailedError | None:
    if result.outcome == "exited" and result.code == 0:
        return None
    if result.outcome == "timeout":
        return ReleaseFailedError("build_timeout", f"the build did not end within {build_s:g} s: `{command[:200]}`")
    said = "; ".join(line.strip() for line in result.last_lines[-LAST_LINES:] if line.strip())[:1500]
    how = {
        "exited": f"exited with code {result.code}",
        "signalled": f"was ended by signal {result.code}",
        "cancelled": "was cancelled",
        "start_failed": f"could not be started: {os.strerror(result.code)}",
    }.get(result.outcome, f"ended with {result.outcome} {result.code}")
    return ReleaseFailedError("build_failed", f"`{command[:200]}` {how}" + (f"; last lines: {said}" if said else ""))
