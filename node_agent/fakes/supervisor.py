"""A supervisor without processes, for tests of what stands above it.

It knows the commands `exit N`, `echo WORDS` and `sleep S`, joined by `;`: an `echo` becomes a last line, an `exit` ends
the process or job at once, a `sleep` goes on until it is stopped. Anything else goes on too. A command that exits is
started again `retries` times and is then crash looping. A one-off command writes its lines to its pipes below `paths`. What a test wants to happen to a process that goes on, it says
with `crash`; `refuse` makes the next call of a verb fail.
"""

import asyncio
import dataclasses
import errno
from collections.abc import Callable

from node_agent.errors import SupervisorRefusedError
from node_agent.model import disk
from node_agent.model.crash import Crash, Kind
from node_agent.model.process import (
    JobKind,
    JobResult,
    JobSpec,
    ProcessId,
    ProcessSpec,
    ProcessStatus,
    SupervisorInfo,
    Unwell,
    Usage,
)
from node_agent.model.process_state import State
from node_agent.paths import Paths

MISSING_DIR = "missing"
FIRST_PID = 1000


class FakeSupervisor:
    """Implements ports.Supervisor. `started`, `stopped` and `ran` (jobs) list what was asked for, in order; `measured` is
    what `measure` answers.
    """

    def __init__(self, retries: int = 5, paths: Paths | None = None) -> None:
        self._paths = paths
        self.started: list[ProcessId] = []
        self.wanted: dict[ProcessId, ProcessSpec] = {}
        self.stopped: list[ProcessId] = []
        self.ran: list[JobSpec] = []
        self.replaced: list[tuple[ProcessId, Unwell]] = []
        self.signalled: list[tuple[ProcessId, str]] = []
        self.forgotten: list[str] = []
        self.measured: dict[str, disk.Use] = {}
        self.reloads = 0
        self.proxy_words: dict[int, str] = {}
        self._retries = retries
        self._statuses: dict[ProcessId, ProcessStatus] = {}
        self._jobs: dict[str, asyncio.Future[JobResult]] = {}
        self._ended: dict[str, JobResult] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._refusals: dict[str, str] = {}
        self._proxy_runs = False
        self._pid = FIRST_PID

    # what a test says

    def refuse(self, verb: str, words: str) -> None:
        """The next call of `verb` raises SupervisorRefusedError with `words`."""
        self._refusals[verb] = words

    def crash(self, process_id: ProcessId, last_exit: str = "signalled(9)") -> None:
        """The process ends by itself and is started again at once, under another pid."""
        old = self._statuses[process_id]
        self._pid += 1
        self._put(dataclasses.replace(old, pid=self._pid, restarts=old.restarts + 1, last_exit=last_exit))

    # the port

    async def hello(self) -> SupervisorInfo:
        self._answer("hello")
        return SupervisorInfo("0", "fake-boot", 1, ())

    async def processes(self) -> tuple[ProcessStatus, ...]:
        self._answer("processes")
        return tuple(self._statuses.values())

    async def start(self, wanted: ProcessSpec) -> ProcessStatus:
        self._answer("start")
        if wanted.id not in self._statuses:
            self.started.append(wanted.id)
            self.wanted[wanted.id] = wanted
            self._put(self._first_status(wanted))
        return self._statuses[wanted.id]

    async def stop(self, process_id: ProcessId, grace_s: float) -> None:  # noqa: ARG002 - nothing here takes time
        self._answer("stop")
        if self._statuses.pop(process_id, None) is not None:
            self.stopped.append(process_id)
            self._tell(process_id.service_id)

    async def replace(self, process_id: ProcessId, unwell: Unwell, grace_s: float) -> None:  # noqa: ARG002 - as above
        self._answer("replace")
        old = self._statuses.get(process_id)
        if old is None or not old.pid or old.pid != unwell.pid:
            raise SupervisorRefusedError(f"cannot replace {process_id}: pid {unwell.pid} of it does not run")
        self.replaced.append((process_id, unwell))
        crash = Crash(Kind.UNHEALTHY, 15, unwell.words, 1.0, 0.0)
        self._statuses[process_id] = dataclasses.replace(old, crash=crash)
        self.crash(process_id, str(crash))

    async def signal(self, process_id: ProcessId, name: str) -> None:
        self._answer("signal")
        if process_id not in self._statuses or not self._statuses[process_id].pid:
            raise SupervisorRefusedError(f"cannot signal {process_id}: it does not run")
        self.signalled.append((process_id, name))

    async def stats(self) -> dict[ProcessId, Usage]:
        self._answer("stats")
        return {found.id: Usage(pids=1 if found.pid else 0) for found in self._statuses.values()}

    async def run_job(self, job: JobSpec) -> JobResult:
        self._answer("run_job")
        await self.cancel_job(job.id)
        if job.hands_over:
            return JobResult("exited", 0, 0.0)
        self.ran.append(job)
        if job.working_dir == MISSING_DIR:
            return JobResult("start_failed", errno.ENOENT, 0.0, ("No such file or directory",))
        lines, code = _interpret(job.command)
        if job.kind is JobKind.RUN and self._paths is not None:
            with self._paths.run_pipe(job.run_id, "stdout").open("wb", buffering=0) as pipe:
                pipe.write("".join(f"{line}\n" for line in lines).encode())
        lines = () if job.kind is JobKind.CRON else lines  # they are in the log
        if code is not None:
            self._ended[job.id] = JobResult("exited", code, 0.0, lines)
            return self._ended[job.id]
        future = self._jobs[job.id] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(job.deadline_s):
                result: JobResult = await asyncio.shield(future)
        except TimeoutError:
            result = JobResult("timeout", 9, job.deadline_s)
        except asyncio.CancelledError:
            if job.ends_with_caller:
                self._drop(job.id, future)
            raise
        self._drop(job.id, future)
        return dataclasses.replace(result, last_lines=lines)

    async def await_job(self, job_id: str) -> JobResult | None:
        self._answer("await_job")
        future = self._jobs.get(job_id)
        return await asyncio.shield(future) if future is not None else self._ended.get(job_id)

    def _drop(self, job_id: str, future: asyncio.Future[JobResult]) -> None:
        if self._jobs.get(job_id) is future:
            del self._jobs[job_id]

    async def cancel_job(self, job_id: str) -> None:
        self._answer("cancel_job")
        future = self._jobs.pop(job_id, None)
        if future is not None and not future.done():
            self._ended[job_id] = JobResult("cancelled", 9, 0.0)
            future.set_result(self._ended[job_id])

    async def prepare_build(self, service_id: str, release: int) -> None:  # noqa: ARG002 - everything is ours here
        self._answer("prepare_build")

    async def index_logs(self, service_id: str) -> None:  # noqa: ARG002 - this one keeps no log files
        self._answer("index_logs")

    async def forget(self, service_id: str) -> None:
        self._answer("forget")
        if any(process_id.service_id == service_id for process_id in self._statuses):
            raise SupervisorRefusedError(f"cannot forget {service_id}: stop its processes first")
        self.forgotten.append(service_id)

    async def measure(self, service_id: str = "") -> dict[str, disk.Use]:
        self._answer("measure")
        below = f"services/{service_id}/" if service_id else ""
        return {path: use for path, use in self.measured.items() if path.startswith(below)}

    async def proxy_test(self, generation: int) -> tuple[bool, str]:
        self._answer("proxy_test")
        words = self.proxy_words.get(generation, "")
        return not words, words

    async def proxy_ensure(self) -> bool:
        self._answer("proxy_ensure")
        started, self._proxy_runs = not self._proxy_runs, True
        return started

    async def proxy_reload(self) -> None:
        self._answer("proxy_reload")
        if not self._proxy_runs:
            raise SupervisorRefusedError("cannot reload nginx: it does not run")
        self.reloads += 1

    def subscribe(self, changed: Callable[[str], None]) -> None:
        self._listeners.append(changed)

    def _first_status(self, wanted: ProcessSpec) -> ProcessStatus:
        status = ProcessStatus(wanted.id, State.RUNNING.value, 0, wanted.port, 1.0, 0, "")
        lines, code = _interpret(wanted.command)
        failed = "start_failed: No such file or directory" if wanted.working_dir == MISSING_DIR else ""
        if failed or code is not None:
            last_exit = failed or f"exited({code})"
            state = State.CRASH_LOOPING.value
            crash = Crash(Kind.START_FAILED if failed else Kind.EXITED, code or 0, failed, 1.0, 0.0, lines=lines)
            return dataclasses.replace(status, state=state, restarts=self._retries, last_exit=last_exit, crash=crash)
        self._pid += 1
        return dataclasses.replace(status, pid=self._pid)

    def _put(self, status: ProcessStatus) -> None:
        self._statuses[status.id] = status
        self._tell(status.id.service_id)

    def _tell(self, service_id: str) -> None:
        for changed in self._listeners:
            changed(service_id)

    def _answer(self, verb: str) -> None:
        if words := self._refusals.pop(verb, ""):
            raise SupervisorRefusedError(words)


def _interpret(command: str) -> tuple[tuple[str, ...], int | None]:
    """The lines that a command writes and its exit code; None when it goes on."""
    lines: list[str] = []
    for step in command.split(";"):
        word, _, rest = step.strip().partition(" ")
        if word == "echo":
            lines.append(rest)
        elif word == "exit":
            return tuple(lines), int(rest)
        else:
            return tuple(lines), None
    return tuple(lines), 0
