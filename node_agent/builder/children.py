"""Short-lived child processes of the builder: argument list, given environment, deadline, bounded output, no leftovers."""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import signal
from collections.abc import Callable, Mapping, Sequence

MAX_OUTPUT = 1 << 20


class ChildTimeoutError(Exception):
    """The deadline passed; the whole process group is gone."""


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended; each output holds its last MAX_OUTPUT bytes."""

    code: int
    stdout: str
    stderr: str

    @property
    def last_line(self) -> str:
        """What the program said last, for an error's sentence."""
        lines = [line.strip() for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return lines[-1][:500] if lines else f"exit code {self.code}"


async def run(
    arguments: Sequence[str],
    env: Mapping[str, str],
    deadline_s: float,
    cwd: pathlib.Path | None = None,
    sink: Callable[[bytes], None] | None = None,
) -> Ended:
    """Run to the end in a session of its own, which is killed whole at the deadline and on cancellation.

    `sink` gets its output piece by piece instead of the result; what it raises ends the child.
    Raises ChildTimeoutError; OSError when it cannot be started.
    """
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *arguments, env=env, cwd=cwd, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, start_new_session=True
    )
    reading = _pass(child.stdout, sink) if sink else _tail(child.stdout)
    readers = (asyncio.create_task(reading), asyncio.create_task(_tail(child.stderr)))
    try:
        async with asyncio.timeout(deadline_s):
            stdout, stderr = await asyncio.gather(*readers)
            code = await child.wait()
    except TimeoutError as error:
        await _kill(child, readers)
        raise ChildTimeoutError(f"{arguments[0]} did not end within {deadline_s:g} s") from error
    except BaseException:
        await _kill(child, readers)
        raise
    return Ended(code, stdout, stderr)


async def _tail(stream: asyncio.StreamReader | None) -> str:
    kept = bytearray()
    while stream is not None and (chunk := await stream.read(1 << 16)):
        kept += chunk
        if len(kept) > 2 * MAX_OUTPUT:  # seldom: a flood must not cost a copy of all that is kept for each piece
            del kept[:-MAX_OUTPUT]
    return kept[-MAX_OUTPUT:].decode(errors="replace")


async def _pass(stream: asyncio.StreamReader | None, sink: Callable[[bytes], None]) -> str:
    while stream is not None and (chunk := await stream.read(1 << 16)):
        sink(chunk)
    return ""


async def _kill(child: asyncio.subprocess.Process, readers: tuple[asyncio.Task[str], ...]) -> None:
    """The whole group: it still exists, because its leader is not reaped or a member of it holds our pipes."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    await asyncio.shield(_finish(child, readers))


async def _finish(child: asyncio.subprocess.Process, readers: tuple[asyncio.Task[str], ...]) -> None:
    """asyncio takes a child for ended only when its pipes are: what nobody read would be waited for for ever."""
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    for stream in (child.stdout, child.stderr):
        while stream is not None and await stream.read(1 << 16):
            pass
    await child.wait()
