"""Builds and one-off commands: each to its end under a deadline, leaving nothing behind. Run again rather than adopted."""

import contextlib
import dataclasses
import errno
import functools
from collections.abc import Callable

import failpoints
from node_agent.model.process import JobKind, JobResult, JobSpec, Limits
from node_agent.supervisor import estates, launch
from node_agent.supervisor.cages import NO_LIMITS, Cage
from node_agent.supervisor.children import UNKNOWN, End
from node_agent.supervisor.host import Host, RefusedError
from node_agent.supervisor.isolation import NoIsolation
from node_agent.supervisor.loop import Timer, note

Done = Callable[[JobResult], None]
# Less than a user may have (spawn.PROCESSES): where it is this limit that is met, the end of the build can tell of it.
BUILD_LIMITS = Limits(pids=4000)
JOB_SUFFIXES = (".build", ".run")


@dataclasses.dataclass(slots=True)
class Job:
    """`cause` is why it is being ended before its time: timeout or cancelled, else empty."""

    spec: JobSpec
    done: Done
    cage: Cage | None = None
    pid: int = 0
    started: float = 0.0
    cause: str = ""
    end: End | None = None
    refused: bool = False
    deadline: Timer | None = None
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)


class Jobs:
    """The running jobs; of each id at most one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._jobs: dict[str, Job] = {}

    def run(self, spec: JobSpec, done: Done) -> None:
        """`done` with the result when nothing of the job is left. A former job of this id is ended first."""
        former = self._jobs.get(spec.id)
        if former is not None:
            self._end(former, "cancelled")
        job = Job(spec, done)
        self._host.endings.begin(spec.id, 0, 0.0, lambda: self._begin(job), self._host.cages.find(spec.id))

    def cancel(self, job_id: str, done: Callable[[], None]) -> None:
        """Kill the job's tree; `done` when it is gone. At once when there is none."""
        job = self._jobs.get(job_id)
        if job is None:
            done()
            return
        self._end(job, "cancelled")
        self._host.endings.begin(job_id, job.pid, 0.0, done, job.cage)

    def cancel_all(self, done: Callable[[], None], service_id: str = "") -> None:
        """Those of the service, or every one; `done` when they are gone."""
        left = [key for key, job in self._jobs.items() if service_id in {"", job.spec.service_id}]

        def one_done(job_id: str) -> None:
            left.remove(job_id)
            if not left:
                done()

        if not left:
            done()
        for job_id in tuple(left):
            self.cancel(job_id, lambda job_id=job_id: one_done(job_id))  # type: ignore[misc]

    def clear(self, markers: list[str]) -> None:
        """Once at start: end what a former supervisor's jobs left running."""
        for marker in markers:
            note("job.left_over", id=marker)
            cage = self._host.cages.find(marker)
            self._host.endings.begin(marker, 0, 0.0, functools.partial(self._discard, cage), cage)

    @failpoints.around("job.begin")
    def _begin(self, job: Job) -> None:
        spec = job.spec
        if spec.id in self._jobs:  # two asked at once: the later one wins
            self.run(spec, job.done)
            return
        self._jobs[spec.id] = job
        self._open_log(job)
        job.started = self._host.clock.monotonic()
        try:
            is_ours = spec.kind in {JobKind.REMOVE, JobKind.CLEAR}
            identity = None if is_ours else self._host.identity(spec.service_id, spec.volumes)
            if spec.volume:
                self._settle_volume(spec)
            if spec.hands_over and isinstance(self._host.isolation, NoIsolation):  # to ourselves, from ourselves
                self._finish(job, JobResult("exited", 0, 0.0))
                return
            job.cage = self._host.caged(spec.id, BUILD_LIMITS if spec.kind is JobKind.BUILD else NO_LIMITS)
            wanted = launch.job_launch(self._host.paths, spec, identity, self._host.isolation.household)
            with self._host.calls.bound(job.cage) if spec.kind is JobKind.BUILD else contextlib.nullcontext():
                job.pid = self._host.spawn(spec.service_id, wanted, job.cage)
        except launch.StartError as error:
            self._finish(job, JobResult("start_failed", error.code, 0.0, (str(error),)))
            return
        except OSError as error:
            words = f"cannot keep it from what a build may not call: {error}"
            self._finish(job, JobResult("start_failed", error.errno or errno.EIO, 0.0, (words,)))
            return
        self._host.children.expect(job.pid, lambda end: self._ended(job, end))
        job.deadline = self._host.loop.later(spec.deadline_s, lambda: self._end(job, "timeout"))
        note("job.started", id=spec.id, pid=job.pid)

    def demand_no_run(self, service_id: str, what: str) -> None:
        """Raises RefusedError while a program of the app runs beside its processes."""
        of_app = (JobKind.RELEASE, JobKind.RUN, JobKind.CHECK)
        if any(job.spec.service_id == service_id and job.spec.kind in of_app for job in self._jobs.values()):
            raise RefusedError(f"cannot {what} {service_id}: a command of it runs; wait for its end, or cancel it")

    def _settle_volume(self, spec: JobSpec) -> None:
        """What a former volume is taken for must be known before anything is deleted, and there before it is read."""
        try:
            estates.recover_volume(self._host.paths, spec.service_id, spec.volume)
            if spec.kind is JobKind.RESTORE:
                self._host.isolation.make_draft(spec.service_id, spec.volume)
        except OSError as error:
            raise launch.StartError(error.errno or errno.EIO, f"cannot make a place to restore to: {error}") from error

    def _end(self, job: Job, cause: str) -> None:
        job.cause = job.cause or (cause if job.end is None else "")
        self._host.endings.begin(job.spec.id, job.pid, 0.0, lambda: self._gone(job), job.cage)

    def _ended(self, job: Job, end: End) -> None:
        if self._jobs.get(job.spec.id) is not job:
            return  # its tree was gone before its exit was seen, and its successor has the same marker
        job.end = end
        job.refused = _was_refused(job.cage)  # before what is left of it is ended: that allows no fork either
        self._host.endings.begin(job.spec.id, job.pid, 0.0, lambda: self._gone(job), job.cage)

    @failpoints.around("job.end")
    def _gone(self, job: Job) -> None:
        if self._jobs.get(job.spec.id) is not job:
            return
        spec = job.spec
        code = (job.end or UNKNOWN).code
        outcome = job.cause or ("exited" if code >= 0 else "signalled")
        duration = self._host.clock.monotonic() - job.started
        lines = self._close_log(job)
        if code and job.refused:
            lines += (f"it was refused more than the {BUILD_LIMITS.pids} processes that a build may have at once",)
        self._jobs.pop(spec.id)
        self._discard(job.cage)
        if spec.kind is JobKind.REMOVE and not spec.release and not spec.volume:
            with contextlib.suppress(OSError):  # its logs are still there: they go first, when it is forgotten
                self._host.paths.service(spec.service_id).rmdir()
        self._report(job, JobResult(outcome, abs(code), duration, lines))

    def _finish(self, job: Job, result: JobResult) -> None:
        """It never began."""
        self._close_log(job)
        self._jobs.pop(job.spec.id)
        self._discard(job.cage)
        self._report(job, result)

    def _discard(self, cage: Cage | None) -> None:
        self._host.discard(cage)
        self._host.calls.tidy()

    def _report(self, job: Job, result: JobResult) -> None:
        if job.deadline is not None:
            job.deadline.cancel()
        note("job.ended", id=job.spec.id, outcome=result.outcome, code=result.code)
        job.done(result)

    # the build log; what a one-off command writes is nobody's but the caller's

    def _open_log(self, job: Job) -> None:
        spec, logs = job.spec, self._host.logs
        if spec.is_build:
            logs.index(spec.service_id)  # what stands before the job's own output is an entry of its own
            logs.open(spec.service_id, "build", spec.release)
            job.sizes = logs.sizes(spec.service_id, "build", spec.release)

    def _close_log(self, job: Job) -> tuple[str, ...]:
        """The last lines of the job."""
        spec, logs = job.spec, self._host.logs
        if not spec.is_build:
            return ()
        logs.close(spec.service_id, "build", spec.release)
        return logs.last_lines(spec.service_id, "build", spec.release, job.sizes)


def _was_refused(cage: Cage | None) -> bool:
    """Could it start no process for its limit?"""
    with contextlib.suppress(OSError):
        return cage is not None and cage.refused_forks() > 0
    return False
