"""A job of the supervisor that talks: what it writes is read from two pipes, and given on.

The agent holds both ends of each pipe until the job is over: so there is no end of file before the program begins, and
one for certain after it ended. Nothing is stored; a slow reader makes the program wait.
"""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator

from node_agent import ports
from node_agent.model import process
from node_agent.model.run import Ending
from node_agent.paths import Paths
from node_agent.reconciler import jobs

CHUNK = 64 << 10
STREAMS = ("stdout", "stderr")

Write = Callable[[str, bytes], Awaitable[None]]


async def run(supervisor: ports.Supervisor, paths: Paths, job: process.JobSpec, write: Write) -> Ending:
    """Run `job` to its end, see ports.Runner. Cancelled, it ends the job."""
    with _pipes(paths, job.run_id) as pipes:
        try:
            async with asyncio.TaskGroup() as tasks:
                for stream, pipe in pipes.items():
                    tasks.create_task(_copy(stream, pipe, write), name=f"{job.run_id} {stream}")
                result = await jobs.run(supervisor, job)
                for pipe in pipes.values():
                    pipe.close_writer()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from None
    if result.outcome == "start_failed":
        await write("stderr", "".join(f"{line}\n" for line in result.last_lines).encode())
    return Ending(result.outcome, result.code)


@contextlib.contextmanager
def _pipes(paths: Paths, run_id: str) -> Iterator[dict[str, "_Pipe"]]:
    """One for each stream; gone afterwards. Raises OSError."""
    paths.runs.mkdir(mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as stack:
        yield {
            stream: stack.enter_context(contextlib.closing(_Pipe(str(paths.run_pipe(run_id, stream)))))
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
