"""Log requests of the control plane: each is served on a call of its own and disturbs neither status nor the others."""

import asyncio
from typing import Any

import grpc
import structlog

from node_agent import errors, ports
from node_agent.session import wire
from node_agent.session.tasks import until_first
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()

LogCall = grpc.aio.StreamUnaryCall[pb.LogBatch, pb.LogsDone]


class LogCalls:
    """`run` owns the tasks; what is asked for outside of it is not served."""

    def __init__(self, stub: "rpc.HubAsyncStub", reader: ports.LogReader, limit: int, call_s: float) -> None:
        self._stub = stub
        self._reader = reader
        self._limit = limit
        self._call_s = call_s
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; every call ends with it."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def start(self, request: pb.LogRequest) -> None:
        """Begin to serve `request`; one that is served already is left alone."""
        if self._group is None or request.request_id in self._tasks:
            return
        task = self._group.create_task(self._serve(request), name=f"logs {request.request_id}")
        self._tasks[request.request_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(request.request_id, None))

    def cancel(self, request_id: str) -> None:
        if task := self._tasks.get(request_id):
            task.cancel()

    async def _serve(self, request: pb.LogRequest) -> None:
        call = self._stub.SendLogs()
        try:
            await until_first(self._send(call, request), _answered(call))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            log.info("logs.broken_off", service=request.service_id, error=type(error).__name__)
        except Exception:  # one reader's trouble must not end the session
            log.exception("logs.failed", service=request.service_id)
        finally:
            call.cancel()

    async def _send(self, call: LogCall, request: pb.LogRequest) -> None:
        problem = "the agent serves too many readers; try again later" if len(self._tasks) > self._limit else ""
        if not problem:
            problem = await self._copy(call, request)
        await call.write(pb.LogBatch(request_id=request.request_id, error=problem, end=True))
        await call.done_writing()
        async with asyncio.timeout(self._call_s):
            await call.code()

    async def _copy(self, call: LogCall, request: pb.LogRequest) -> str:
        """Send what the reader has; the words of what went wrong, or nothing."""
        batches: Any = self._reader.read(wire.log_query(request))
        try:
            async for batch in batches:
                await call.write(wire.log_batch(request.request_id, batch))
        except (errors.AgentError, OSError, ValueError) as error:
            return f"{error}"[: wire.MAX_TEXT] or type(error).__name__
        finally:
            if hasattr(batches, "aclose"):
                await batches.aclose()
        return ""


async def _answered(call: LogCall) -> None:
    """Return when the control plane ended the call: the reader is gone, or has all."""
    await call.code()
