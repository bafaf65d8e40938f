"""The agent's end of the supervisor's socket. It comes back by itself after the supervisor was restarted."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

from node_agent.errors import SupervisorRefusedError, SupervisorUnavailableError
from node_agent.model import disk
from node_agent.model.process import (
    JobResult,
    JobSpec,
    ProcessId,
    ProcessSpec,
    ProcessStatus,
    SupervisorInfo,
    Unwell,
    Usage,
)
from node_agent.paths import Paths
from node_agent.supervisor import frames, job_protocol, protocol

QUICK_TIMEOUT_S = 30.0
SLACK_S = 60.0
MEASURE_S = 360.0
LONGEST_JOB_S = 86400.0 + 2 * SLACK_S
FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.05, 1.0

T = TypeVar("T")


class SupervisorClient:
    """Implements ports.Supervisor. `connect` first, `close` at the end; both from the loop that makes the calls."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._task: asyncio.Task[None] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._number = 0
        self._listeners: list[Callable[[str], None]] = []

    async def connect(self, timeout: float) -> None:
        """Begin, and wait for the first connection. Raises SupervisorUnavailableError after `timeout` seconds."""
        if self._task is None:
            self._task = asyncio.create_task(self._serve(), name="supervisor client")
        try:
            async with asyncio.timeout(timeout):
                await self._connected.wait()
        except TimeoutError:
            raise SupervisorUnavailableError(
                f"cannot reach the supervisor at {self._paths.supervisor_socket}; is dployr-supervisor running?"
            ) from None

    async def close(self) -> None:
        """The calls in flight fail; nothing on the other side changes."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def subscribe(self, changed: Callable[[str], None]) -> None:
        self._listeners.append(changed)

    async def hello(self) -> SupervisorInfo:
        return _decoded(protocol.decode_info, await self._call("hello"))

    async def processes(self) -> tuple[ProcessStatus, ...]:
        found = await self._call("processes")
        return tuple(_decoded(protocol.decode_process_status, status) for status in found)

    async def start(self, wanted: ProcessSpec) -> ProcessStatus:
        found = await self._call("start", protocol.encode_process_spec(wanted))
        return _decoded(protocol.decode_process_status, found)

    async def stop(self, process_id: ProcessId, grace_s: float) -> None:
        await self._call("stop", {"process_id": str(process_id), "grace_s": grace_s}, grace_s + SLACK_S)

    async def replace(self, process_id: ProcessId, unwell: Unwell, grace_s: float) -> None:
        await self._call("replace", protocol.encode_unwell(process_id, unwell) | {"grace_s": grace_s})

    async def signal(self, process_id: ProcessId, name: str) -> None:
        await self._call("signal", {"process_id": str(process_id), "signal": name})

    async def stats(self) -> dict[ProcessId, Usage]:
        found = await self._call("stats")
        return dict(_decoded(protocol.decode_usage, usage) for usage in found)

    async def run_job(self, job: JobSpec) -> JobResult:
        found = await self._call(job.kind.value, job_protocol.encode_job_spec(job), job.deadline_s + 2 * SLACK_S)
        return _decoded(job_protocol.decode_job_result, found)

    async def cancel_job(self, job_id: str) -> None:
        await self._call("cancel_job", {"job_id": job_id}, SLACK_S)

    async def await_job(self, job_id: str) -> JobResult | None:
        found = await self._call("await_job", {"job_id": job_id}, LONGEST_JOB_S)
        return _decoded(job_protocol.decode_job_result, found) if found is not None else None

    async def prepare_build(self, service_id: str, release: int) -> None:
        await self._call("prepare_build", {"service_id": service_id, "release": release})

    async def index_logs(self, service_id: str) -> None:
        await self._call("index_logs", {"service_id": service_id})

    async def forget(self, service_id: str) -> None:
        await self._call("forget", {"service_id": service_id}, SLACK_S)

    async def measure(self, service_id: str = "") -> dict[str, disk.Use]:
        found = await self._call("measure", {"service_id": service_id}, MEASURE_S)
        return _decoded(protocol.decode_measured, found)

    async def proxy_test(self, generation: int) -> tuple[bool, str]:
        good, words = await self._call("proxy_test", {"generation": generation}, SLACK_S)
        return bool(good), str(words)

    async def proxy_ensure(self) -> bool:
        return bool(await self._call("proxy_ensure"))

    async def proxy_reload(self) -> None:
        await self._call("proxy_reload")

    async def shutdown(self) -> None:
        """End all processes, jobs and nginx, and the supervisor itself."""
        await self._call("shutdown", {}, SLACK_S)

    # the connection

    async def _call(self, verb: str, fields: frames.Frame | None = None, timeout: float = QUICK_TIMEOUT_S) -> Any:
        if self._writer is None:
            raise SupervisorUnavailableError("cannot reach the supervisor; it is being looked for, ask again")
        self._number += 1
        number = self._number
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._writer.write(frames.encode_frame({**(fields or {}), "id": number, "verb": verb}))
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            raise SupervisorUnavailableError(f"the supervisor did not answer {verb} in {timeout:g} s") from None
        except frames.ProtocolError as error:
            raise SupervisorRefusedError(str(error)) from error
        finally:
            self._waiting.pop(number, None)

    async def _serve(self) -> None:
        """Connect, read until the other side is gone, come back; for ever."""
        backoff_s, connected_before = FIRST_BACKOFF_S, False
        while True:
            try:
                with frames.address(self._paths.supervisor_socket) as address:
                    reader, self._writer = await asyncio.open_unix_connection(address)
            except OSError:
                await asyncio.sleep(backoff_s)
                backoff_s = min(LONGEST_BACKOFF_S, backoff_s * 2)
                continue
            backoff_s = FIRST_BACKOFF_S
            self._connected.set()
            if connected_before:
                self._tell("")
            connected_before = True
            try:
                await self._read(reader)
            finally:
                await self._disconnected()
            await asyncio.sleep(backoff_s)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        buffer = frames.FrameBuffer()
        with contextlib.suppress(OSError, frames.ProtocolError):
            while data := await reader.read(64 << 10):
                for frame in buffer.feed(data):
                    self._take(frame)

    def _take(self, frame: frames.Frame) -> None:
        if frame.get("event") == "process":
            self._tell(str(frame.get("service_id", "")))
            return
        answer = self._waiting.get(frame.get("id", 0))
        if answer is None or answer.done():
            return
        if "error" in frame:
            answer.set_exception(SupervisorRefusedError(str(frame["error"])))
        else:
            answer.set_result(frame.get("ok"))

    def _tell(self, service_id: str) -> None:
        for changed in self._listeners:
            changed(service_id)

    async def _disconnected(self) -> None:
        self._connected.clear()
        writer, self._writer = self._writer, None
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(SupervisorUnavailableError("the connection to the supervisor broke; ask again"))
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _decoded(decode: Callable[[Any], T], found: Any) -> T:
    try:
        return decode(found)
    except (frames.ProtocolError, AttributeError) as error:
        raise SupervisorRefusedError(f"cannot understand the supervisor: {error}; update both together") from error
