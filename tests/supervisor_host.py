"""A supervisor as a real process on a temporary data directory, and the things that its tests start with it."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator

import pytest

from node_agent.errors import SupervisorUnavailableError
from node_agent.model.process import JobSpec, ProcessId, ProcessSpec
from node_agent.paths import Paths
from node_agent.supervisor import calls, ladder, procfs
from node_agent.supervisor_client import SupervisorClient
from tests.waiting import wait_until, wait_until_async

SERVICE = "svc_" + "0" * 26
REPOSITORY = pathlib.Path(__file__).parents[1]


def a_process(command: str = "exec sleep 1000", **changes: object) -> ProcessSpec:
    spec = ProcessSpec(
        id=ProcessId(SERVICE, 1, 0, "web.1"),
        command=command,
        env=(),
        toolchain="",
        working_dir="",
        port=20001,
        commit="c0ffee",
    )
    return dataclasses.replace(spec, **changes)


def a_job(command: str, **changes: object) -> JobSpec:
    job = JobSpec(SERVICE, 1, command, env=(), toolchain="", working_dir="", deadline_s=30.0)
    return dataclasses.replace(job, **changes)


class SupervisorHost:
    """One data directory with a release tree and a build tree; `start` and `kill` its supervisor at will."""

    def __init__(self, root: pathlib.Path) -> None:
        self.paths = Paths(root.resolve())
        self.tree = self.paths.release_tree(SERVICE, 1)
        self.tree.mkdir(parents=True)
        self.build_tree = self.paths.build_tree(SERVICE, 1)
        self.build_tree.mkdir(parents=True)
        self.process: subprocess.Popen | None = None
        self.output = root / "supervisor.log"
        self._sessions: set[int] = set()

    def start(self, *options: str) -> subprocess.Popen:
        argv = [sys.executable, "-m", "node_agent.supervisor", "--data-dir", str(self.paths.root), *options]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        return self.process

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def snapshot(self) -> procfs.Snapshot:
        return procfs.take_snapshot(str(self.paths.root))

    def marked(self) -> dict[str, list[int]]:
        """pids by marker of everything that belongs to this data directory."""
        return {marker: [m.pid for m in members] for marker, members in self.snapshot().marked().items()}

    def script(self, name: str, text: str) -> str:
        """A Python program in the release and build trees; the command that runs it."""
        for tree in (self.tree, self.build_tree):
            (tree / name).write_text(text)
        return f"exec {sys.executable} {name}"

    def close(self) -> None:
        """End the supervisor, then whatever a failed test left."""
        if self.process is not None:
            self.kill()
        wait_until(lambda: not self._kill_rest(), what="the end of all processes of the test")
        wait_until(self._remove_cages, what="the end of all cages of the test")

    def _remove_cages(self) -> bool:
        """Also of what no longer carries a marker."""
        cages = ladder.open_cages(self.paths.root)
        for name in cages.names():
            with contextlib.suppress(OSError):
                cages.find(name).kill()
                cages.find(name).remove()
        cages.close()
        calls.open_calls(self.paths.root).tidy()
        return not cages.names()

    def _kill_rest(self) -> list[int]:
        """By marker, and by the sessions of what was marked: a master that is killed while it forks leaves workers."""
        snapshot = self.snapshot()
        marked = snapshot.marked()
        self._sessions |= {m.session for members in marked.values() for m in members} - {os.getsid(0)}
        trees = {m.pid for marker in marked for m in snapshot.tree(marker, 0)}
        pids = sorted(trees | {m.pid for m in snapshot.members.values() if m.session in self._sessions})
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pids


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[SupervisorHost]:
    found = SupervisorHost(tmp_path)
    yield found
    found.close()


@pytest.fixture
async def client(host: SupervisorHost) -> AsyncIterator[SupervisorClient]:
    """Of the supervisor of `host`, which it starts."""
    host.start()
    found = SupervisorClient(host.paths)
    await found.connect(20)
    yield found
    await found.close()


@contextlib.contextmanager
def passable(parent: str | None = None) -> Iterator[pathlib.Path]:
    """A directory of the test that other users may pass."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="dployr-isolation-", dir=parent))
    root.chmod(0o711)
    try:
        yield root
    finally:
        shutil.rmtree(root)


@pytest.fixture(name="host")
def open_host() -> Iterator[SupervisorHost]:
    """A `host` that other users may reach: there apps have users of their own."""
    with passable() as root:
        found = SupervisorHost(root / "data")
        try:
            yield found
        finally:
            found.close()


async def reach(host: SupervisorHost, client: SupervisorClient) -> None:
    """Wait until `client` talks to the supervisor that runs now."""

    async def is_there() -> bool:
        try:
            return (await client.hello()).pid == host.process.pid
        except SupervisorUnavailableError:
            return False

    await wait_until_async(is_there, what="the client's reconnect")
