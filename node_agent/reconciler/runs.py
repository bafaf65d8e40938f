"""One-off commands: a job of the supervisor in the live release's tree, its output read from two pipes.

The agent holds both ends of each pipe until the job is over: so there is no end of file before the command begins, and
one for certain after it ended. Nothing is stored; a slow reader makes the command wait.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator

from node_agent import errors
from node_agent.model import decided, process
from node_agent.model.run import Ending, RunSpec
from node_agent.paths import Paths
from node_agent.reconciler import jobs
from node_agent.reconciler.host import Host

CHUNK = 64 << 10
LONGEST_S = 86400.0
STREAMS = ("stdout", "stderr")

Write = Callable[[str, bytes], Awaitable[None]]


class Runs:
    """Implements ports.Runner."""

    def __init__(self, host: Host, paths: Paths) -> None:
        self._host, self._paths = host, paths

    def sweep(self) -> None:
        """Once at start: pipes of a killed agent. Its commands ended with it."""
        shutil.rmtree(self._paths.runs, ignore_errors=True)

    async def run(self, wanted: RunSpec, write: Write) -> Ending:
        job = await self._job(wanted)
        with self._pipes(wanted.run_id) as pipes:
            try:
                async with asyncio.TaskGroup() as tasks:
                    for stream, pipe in pipes.items():
                        tasks.create_task(_copy(stream, pipe, write), name=f"{wanted.run_id} {stream}")
                    result = await jobs.run(self._host.supervisor, job)
                    for pipe in pipes.values():
                        pipe.close_writer()
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None
        if result.outcome == "start_failed":
            await write("stderr", "".join(f"{line}\n" for line in result.last_lines).encode())
        return Ending(result.outcome, result.code)

    async def _job(self, wanted: RunSpec) -> process.JobSpec:
        """Where and with what it runs: as the live release's own processes do. Raises NotRunnableError."""
        journal, service_id = self._host.journal, wanted.service_id
        live = await journal.live(service_id)
        releases = {known.number: release for release, known in await journal.releases(service_id)}
        artifact = await self._host.builder.sealed(service_id, live.release) if live else None
        if live is None or artifact is None or live.release not in releases:
            raise errors.NotRunnableError(
                f"cannot run a command: service {service_id} has no live release; deploy or start it first"
            )
        release = decided.effective(releases[live.release], artifact.decided)
        return process.JobSpec(
            service_id=service_id,
            release=live.release,
            command=wanted.command,
            env=release.env,
            toolchain=artifact.toolchain,
            working_dir=release.working_dir,
            deadline_s=min(max(wanted.timeout_s, 1.0), LONGEST_S),
            kind=process.JobKind.RUN,
            run_id=wanted.run_id,
            commit=artifact.commit,
            volumes=tuple(name for name, _ in release.volumes),
        )

    @contextlib.contextmanager
    def _pipes(self, run_id: str) -> Iterator[dict[str, "_Pipe"]]:
        """One for each stream; gone afterwards. Raises OSError."""
        self._paths.runs.mkdir(mode=0o700, exist_ok=True)
        with contextlib.ExitStack() as stack:
            yield {
                stream: stack.enter_context(contextlib.closing(_Pipe(str(self._paths.run_pipe(run_id, stream)))))
                for stream in STREAMS
            }


class _Pipe:
    """A named pipe with both its ends open."""

    def __init__(self, path: str) -> None:
        self._path = path
        os.mkfifo(path, 0o600)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def close_writer(self) -> None:
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def take_reader(self) -> int:
        """The descriptor, which is the caller's to close from now on."""
        fd, self.reader = self.reader, -1
        return fd

    def close(self) -> None:
        self.close_writer()
        if self.reader >= 0:
            os.close(self.reader)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - a name and two descriptors


async def _copy(stream: str, pipe: _Pipe, write: Write) -> None:
    """Until no writer is left."""
    reader = asyncio.StreamReader(limit=CHUNK)
    file = os.fdopen(pipe.take_reader(), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), file
    )
    try:
        while data := await reader.read(CHUNK):
            await write(stream, data)
    finally:
        transport.close()
