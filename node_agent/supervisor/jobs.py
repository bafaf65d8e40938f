"""Builds, one-off commands, runs of cron entries: each to its end under a deadline, leaving nothing behind. Run again
rather than adopted.
"""

import contextlib
import dataclasses
import errno
import functools
import signal
from collections.abc import Callable

import failpoints
from node_agent.model.process import JobKind, JobResult, JobSpec, Limits
from node_agent.supervisor import endings, estates, launch
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.children import UNKNOWN, End
from node_agent.supervisor.host import Host, RefusedError
from node_agent.supervisor.isolation import NoIsolation
from node_agent.supervisor.loop import Timer, note
from node_agent.supervisor.watchdog import Watchdog

Done = Callable[[JobResult], None]
# Less than a user may have (spawn.PROCESSES): where it is this limit that is met, the end of the build can tell of it.
BUILD_LIMITS = Limits(pids=4000)
JOB_SUFFIXES = (".build", ".run")
KEPT_RESULTS = 256


@dataclasses.dataclass(slots=True)
class Job:
    """`cause` is why it is being ended before its time: timeout or cancelled, else empty."""

    spec: JobSpec
    done: list[Done]
    cage: Cage | None = None
    pid: int = 0
    started: float = 0.0
    cause: str = ""
    end: End | None = None
    refused: bool = False
    deadline: Timer | None = None
    over: str = ""
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def marker(self) -> str:
        return self.spec.id

    @property
    def main_pid(self) -> int:
        return 0 if self.end else self.pid

    @property
    def limits(self) -> Limits:
        return self.spec.limits


class Jobs:
    """The running jobs; of each id at most one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._jobs: dict[str, Job] = {}
        self._watchdog = Watchdog(host, self._jobs.values)
        self._results: dict[str, JobResult] = {}  # of jobs that go on without their caller

    def run(self, spec: JobSpec, done: Done) -> None:
        """`done` with the result when nothing of the job is left. A former job of this id is ended first."""
        former = self._jobs.get(spec.id)
        if former is not None:
            self._end(former, "cancelled")
        job = Job(spec, [done])
        self._host.endings.begin(spec.id, 0, 0.0, lambda: self._begin(job), self._host.cages.find(spec.id))

    def join(self, job_id: str, done: Callable[[JobResult | None], None]) -> None:
        """`done` with the result of a job that goes on without its caller, now or when it ends; None for an unknown one."""
        if job := self._jobs.get(job_id):
            job.done.append(done)
        else:
            done(self._results.get(job_id))

    def cancel(self, job_id: str, done: Callable[[], None]) -> None:
        """End the job's tree; `done` when it is gone. At once when there is none."""
        job = self._jobs.get(job_id)
        if job is None:
            done()
            return
        self._end(job, "cancelled")
        self._host.endings.begin(job_id, job.pid, job.spec.grace_s, done, job.cage)

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
            for done in job.done:
                self.run(spec, done)
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
            self._host.demand_limits(spec.limits)
            job.cage = self._host.caged(spec.id, BUILD_LIMITS if spec.kind is JobKind.BUILD else spec.limits)
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
        self._watchdog.wake()
        note("job.started", id=spec.id, pid=job.pid)

    def demand_no_run(self, service_id: str, what: str) -> None:
        """Raises RefusedError while a program of the app runs beside its processes."""
        of_app = (JobKind.RELEASE, JobKind.RUN, JobKind.CHECK, JobKind.CRON)
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
        """Before its time: asked first where it has a grace, then killed."""
        if job.spec.grace_s and job.pid and not job.cause and job.end is None:
            endings.signal_group(job.pid, signal.SIGTERM)
        job.cause = job.cause or (cause if job.end is None else "")
        self._host.endings.begin(job.spec.id, job.pid, job.spec.grace_s, lambda: self._gone(job), job.cage)

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
        over = self._over(job) if code else ""
        outcome = job.cause or ("oom" if over else "exited" if code >= 0 else "signalled")
        duration = self._host.clock.monotonic() - job.started
        lines = self._close_log(job)
        if code and job.refused:
            lines += (f"it was refused more than the {BUILD_LIMITS.pids} processes that a build may have at once",)
        self._jobs.pop(spec.id)
        self._discard(job.cage)
        if spec.kind is JobKind.REMOVE and not spec.release and not spec.volume:
            with contextlib.suppress(OSError):  # its logs are still there: they go first, when it is forgotten
                self._host.paths.service(spec.service_id).rmdir()
        self._report(job, JobResult(outcome, abs(code), duration, (over,) if outcome == "oom" else lines))

    def _over(self, job: Job) -> str:
        """Which of its limits it was killed for, in words; "" when it was not."""
        if job.over or job.cage is None or not job.limits.memory_bytes:
            return job.over
        with contextlib.suppress(OSError):
            return job.limits.words_of_memory if job.cage.oom_kills() else ""
        return ""

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
        spec = job.spec
        note("job.ended", id=spec.id, outcome=result.outcome, code=result.code)
        if spec.kind is JobKind.CRON:
            self._results[spec.id] = result
            if len(self._results) > KEPT_RESULTS:
                del self._results[next(iter(self._results))]
        for done in job.done:
            done(result)

    # the log; what a one-off command writes is nobody's but the caller's

    def _open_log(self, job: Job) -> None:
        spec, logs = job.spec, self._host.logs
        if spec.is_build:
            logs.index(spec.service_id)  # what stands before the job's own output is an entry of its own
        if spec.log_name:
            logs.open(spec.service_id, spec.log_name, spec.release)
            job.sizes = logs.sizes(spec.service_id, spec.log_name, spec.release) if spec.is_build else {}

    def _close_log(self, job: Job) -> tuple[str, ...]:
        """The last lines of a build."""
        spec, logs = job.spec, self._host.logs
        if not spec.log_name:
            return ()
        logs.close(spec.service_id, spec.log_name, spec.release)
        if not spec.is_build:
            return ()
        return logs.last_lines(spec.service_id, spec.log_name, spec.release, job.sizes)


def _was_refused(cage: Cage | None) -> bool:
    """Could it start no process for its limit?"""
    with contextlib.suppress(OSError):
        return cage is not None and cage.refused_forks() > 0
    return False
