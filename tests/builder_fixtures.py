"""For tests of the builder: real git repositories, releases, and a job runner in place of the supervisor."""

import asyncio
import contextlib
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

from node_agent.builder import unpack
from node_agent.builder.build import HostBuilder, Limits
from node_agent.builder.git import Git, Policy
from node_agent.builder.toolchains import Toolchains
from node_agent.clock import SystemClock
from node_agent.errors import ReleaseFailedError
from node_agent.model.disk import Budgets, Use
from node_agent.model.process import JobKind, JobResult, JobSpec
from node_agent.model.spec import HealthCheck, ReleaseSpec, Runtime
from node_agent.paths import Paths
from node_agent.supervisor import measure

UNPACK = pathlib.Path(unpack.__file__)
SERVICE = "svc_01J00000000000000000000001"
GIT_ENV = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.test",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.test",
}


def git(place, *arguments):
    return subprocess.run(
        ["git", *arguments], cwd=place, env=GIT_ENV, check=True, capture_output=True, text=True
    ).stdout.strip()


class Repository:
    """A real repository; `commit` writes files (a value that is a Path makes a link) and answers the commit."""

    def __init__(self, place: pathlib.Path) -> None:
        place.mkdir(parents=True)
        self.place = place
        self.remote = f"file://{place}"
        git(place, "init", "--quiet", "--initial-branch=main")

    def commit(self, **files) -> str:
        self.write({name.replace("__", "."): content for name, content in files.items()})
        return git(self.place, "rev-parse", "HEAD")

    def write(self, files: dict) -> str:
        for name, content in files.items():
            path = self.place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, pathlib.Path):
                path.symlink_to(content)
            else:
                path.write_text(content)
        git(self.place, "add", "-A")
        git(self.place, "commit", "--quiet", "--allow-empty", "-m", "change")
        return git(self.place, "rev-parse", "HEAD")


class LocalJobs:
    """Runs jobs as the supervisor would, without its isolation. `ran` lists the commands, `sealed` what each seal was for."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self.ran: list[str] = []
        self.sealed: list[bool] = []

    async def prepare_build(self, service_id: str, release: int) -> None:
        """All is this test's own."""

    async def run_job(self, job: JobSpec) -> JobResult:
        if job.hands_over:
            self.sealed += [job.static] if job.kind is JobKind.SEAL else []
            return JobResult("exited", 0, 0.0)
        self.ran.append(job.command)
        tree = self._paths.build_tree(job.service_id, job.release)
        home = self._paths.home(job.service_id)
        home.mkdir(parents=True, exist_ok=True)
        log = self._paths.log_file(job.service_id, "build", job.release, "stdout")
        before = log.stat().st_size
        began = time.monotonic()
        directory = tree / job.working_dir
        tools = [directory / ".venv/bin", *([self._paths.toolchain(job.toolchain) / "bin"] if job.toolchain else [])]
        env = {**dict(job.env), "HOME": str(home), "PATH": ":".join([*map(str, tools), "/usr/bin", "/bin"])}
        argv = ["/bin/sh", "-c", job.command]
        if job.kind is JobKind.UNPACK:
            argv = [sys.executable, "-I", str(UNPACK), str(self._paths.archive(job.service_id, job.release))]
        with log.open("ab") as out:
            child = await asyncio.create_subprocess_exec(
                *argv, cwd=directory, env=env, stdout=out, stderr=out, start_new_session=True
            )
            self._running[job.id] = child
            try:
                async with asyncio.timeout(job.deadline_s):
                    code = await child.wait()
                outcome = "exited" if code >= 0 else "signalled"
            except TimeoutError:
                await self.cancel_job(job.id)
                outcome, code = "timeout", 0
            # Who waits may go: the job lives on until it is cancelled, as with the supervisor.
        lines = log.read_bytes()[before:].decode(errors="replace").splitlines()[-20:]
        return JobResult(outcome, abs(code), time.monotonic() - began, tuple(lines))

    async def measure(self, service_id: str = "") -> dict[str, Use]:
        return {path: Use(*use) for path, use in measure.measure(str(self._paths.root), service_id).items()}

    async def cancel_job(self, job_id: str) -> None:
        child = self._running.pop(job_id, None)
        if child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()


class Uploads:
    """ports.Archives from a dictionary; `fetched` lists what was asked for."""

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {}
        self.fetched: list[str] = []

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.archives[digest] = data
        return digest

    async def fetch(self, archive: str, target: pathlib.Path) -> None:
        self.fetched.append(archive)
        if archive not in self.archives:
            raise ReleaseFailedError("archive_gone", "cannot get the uploaded source: upload it again")
        target.write_bytes(self.archives[archive])


class Bench:
    """A builder on its own root, with a repository beside it."""

    def __init__(
        self,
        place: pathlib.Path,
        limits: Limits | None = None,
        supervisor=None,
        paths=None,
        budgets: Budgets | None = None,
    ) -> None:
        self.paths = paths or Paths(place / "root")
        self.paths.root.mkdir(mode=0o700, exist_ok=True)
        self.repository = Repository(place / "repository")
        self.jobs = supervisor or LocalJobs(self.paths)
        self.toolchains = Toolchains(self.paths)
        self.git = Git(self.paths, Policy(allow_file=True))
        self.uploads = Uploads()
        self.builder = HostBuilder(
            self.paths, self.jobs, self.git, self.toolchains, SystemClock(), limits, self.uploads, budgets
        )
        self.steps: list[tuple[str, str]] = []

    async def build(self, release: ReleaseSpec):
        return await self.builder.build(
            SERVICE, release, lambda state, commit: self.steps.append((state.value, commit))
        )

    def release(self, number: int = 1, **changes) -> ReleaseSpec:
        return a_release(number, **{"remote": self.repository.remote, **changes})

    def tree(self, number: int = 1) -> pathlib.Path:
        return self.paths.release_tree(SERVICE, number)

    def log(self, number: int = 1) -> str:
        return self.paths.log_file(SERVICE, "build", number, "stdout").read_text()

    async def left_over(self) -> list[str]:
        """What a build that is over must not leave behind, once the trash is emptied."""
        await self.builder.trash.empty()
        places = [self.paths.builds(SERVICE), self.paths.trash]
        left = [str(entry) for place in places if place.exists() for entry in place.iterdir()]
        return left + [str(entry) for entry in self.paths.releases(SERVICE).glob(".*")]


def a_release(number: int = 1, **changes) -> ReleaseSpec:
    values = {
        "remote": "https://git.example.test/a/b",
        "branch": "main",
        "commit": "",
        "runtime": Runtime.STATIC,
        "version": "",
        "build_cmd": "",
        "run_cmd": "",
        "working_dir": "",
        "static_dir": "",
        "port": 0,
        "env": (),
        "health_check": HealthCheck(),
    }
    return ReleaseSpec(number=number, **{**values, **changes})
