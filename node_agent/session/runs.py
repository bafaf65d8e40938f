"""One-off commands, and what is done to volumes, as the control plane asks for it: each is told on a call of its own, and ends with it."""

import asyncio

import grpc
import structlog

from node_agent import errors, ports
from node_agent.session import wire
from node_agent.session.tasks import until_first
from protos import agent_pb2 as pb
from protos import agent_pb2_grpc as rpc

log = structlog.get_logger()

PIECE_BYTES = 64 << 10
BROKEN = "cannot go on with the command: the call that carried its output broke off, so it was ended; run it again"

Request = pb.RunRequest | pb.VolumeRequest
RunCall = grpc.aio.StreamUnaryCall[pb.RunPiece, pb.RunDone]


class RunCalls:
    """`run` owns the tasks: when the session ends, so do its commands."""

    def __init__(self, stub: "rpc.HubAsyncStub", runner: ports.Runner, limit: int, call_s: float) -> None:
        self._stub, self._runner = stub, runner
        self._limit, self._call_s = limit, call_s
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as self._group:
            await asyncio.Event().wait()

    def start(self, request: Request) -> None:
        """Begin `request`; one that runs already is left alone, one that cannot be meant is not begun."""
        run_id = request.run_id
        if self._group is None or run_id in self._tasks or not wire.is_meant(request):
            return
        task = self._group.create_task(self._serve(request), name=f"run {run_id}")
        self._tasks[run_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run_id, None))

    def cancel(self, run_id: str) -> None:
        if task := self._tasks.get(run_id):
            task.cancel()

    async def _serve(self, request: Request) -> None:
        call = self._stub.SendRun()
        names = {"service": request.service_id, "run": request.run_id}
        try:
            await until_first(self._send(call, request), _answered(call))
            broken = await call.code() is not grpc.StatusCode.OK
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            broken = True
        except Exception:  # one command's trouble must not end the session
            log.exception("run.failed", **names)
            broken = True
        try:
            if broken:
                log.info("run.broken_off", **names)
                await self._tell_broken(request.run_id)
        finally:
            call.cancel()

    async def _tell_broken(self, run_id: str) -> None:
        """On a call of its own: of one that broke on our side alone the control plane would learn nothing."""
        call = self._stub.SendRun(timeout=self._call_s)
        try:
            await call.write(pb.RunPiece(run_id=run_id, error=BROKEN, error_kind="unavailable"))
            await call.done_writing()
            await call.code()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            log.info("run.end_untold", run=run_id)  # without a connection the session ends, and that says it
        finally:
            call.cancel()

    async def _send(self, call: RunCall, request: Request) -> None:
        await call.write(pb.RunPiece(run_id=request.run_id))  # taken up
        await call.write(await self._last_piece(call, request))
        await call.done_writing()
        async with asyncio.timeout(self._call_s):
            await call.code()

    async def _last_piece(self, call: RunCall, request: Request) -> pb.RunPiece:
        run_id = request.run_id
        writing = asyncio.Lock()  # both streams may speak at once, and two writes at once break a call

        async def write(stream: str, data: bytes) -> None:
            async with writing:
                for at in range(0, len(data), PIECE_BYTES):
                    await call.write(pb.RunPiece(run_id=run_id, stream=stream, data=data[at : at + PIECE_BYTES]))

        if len(self._tasks) > self._limit:
            words = f"cannot run the command: this host runs {self._limit} already; try again when one has ended"
            return pb.RunPiece(run_id=run_id, error=words, error_kind="unavailable")
        log.info("run.begun", service=request.service_id, run=run_id)
        try:
            ending = await self._runner.run(wire.run_spec(request), write)
        except errors.AgentError as error:
            kind = "conflict" if isinstance(error, errors.NotRunnableError) else "unavailable"
            return pb.RunPiece(run_id=run_id, error=wire.text(str(error)), error_kind=kind)
        log.info("run.ended", service=request.service_id, run=run_id, outcome=ending.outcome, code=ending.code)
        return pb.RunPiece(run_id=run_id, outcome=ending.outcome, code=ending.code)


async def _answered(call: RunCall) -> None:
    """Return when the control plane ended the call: the reader is gone, or has all."""
    await call.code()
