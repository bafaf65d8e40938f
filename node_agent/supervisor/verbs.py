"""The closed set of verbs: each decodes its fields, asks the part that owns the matter, and answers when it is done."""

import contextlib
import dataclasses
import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from node_agent.model.process import JobKind, JobResult, JobSpec, SupervisorInfo
from node_agent.supervisor import VERSION, estates, frames, job_protocol, protocol
from node_agent.supervisor.host import Host, RefusedError
from node_agent.supervisor.jobs import Jobs
from node_agent.supervisor.measuring import Measuring
from node_agent.supervisor.nginx import Nginx
from node_agent.supervisor.processes import Processes

SHUTDOWN_GRACE_S = 10.0
LONGEST_S = 86400.0
SIGNALS = {name: signal.Signals[f"SIG{name}"] for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH")}

Body = Mapping[str, Any]


class Answer(Protocol):
    """Where the result of one request goes; used exactly once, now or later."""

    def ok(self, value: Any = None) -> None: ...
    def refuse(self, words: str) -> None: ...
    def if_abandoned(self, do: Callable[[], None]) -> None:
        """Call `do` when whoever asked is gone before the answer."""
        ...


class Verbs:
    """`stop` ends the supervisor itself, after a shutdown."""

    def __init__(self, host: Host, processes: Processes, jobs: Jobs, nginx: Nginx, stop: Callable[[], None]) -> None:
        self._host, self._processes, self._jobs, self._nginx = host, processes, jobs, nginx
        self._measuring = Measuring(host)
        self._stop = stop
        self._ending = False
        self._verbs: dict[str, Callable[[Body, Answer], None]] = {
            "hello": self._hello,
            "processes": self._list,
            "start": self._start,
            "stop": self._stop_process,
            "replace": self._replace,
            "signal": self._signal,
            "stats": self._stats,
            **{kind.value: self._run_job for kind in JobKind},
            "cancel_job": self._cancel_job,
            "await_job": self._await_job,
            "prepare_build": self._prepare_build,
            "index_logs": self._index_logs,
            "forget": self._forget,
            "measure": self._measure,
            "proxy_test": self._proxy_test,
            "proxy_ensure": self._proxy_ensure,
            "proxy_reload": self._proxy_reload,
            "shutdown": self._shutdown,
        }

    def expect(self, bodies: Sequence[Body]) -> None:
        """These came together and are about to be handled. What is wrong with one, its own answer says."""
        starts = [body for body in bodies if body.get("verb") == "start"]
        if len(starts) < 2 or self._ending:
            return
        services = set()
        for body in starts:
            with contextlib.suppress(frames.ProtocolError):
                services.add(frames.process_id(body).service_id)
        with contextlib.suppress(OSError):
            self._host.isolation.expect(sorted(services))

    def handle(self, verb: str, body: Body, answer: Answer) -> None:
        """Do it. Whatever is wrong with the request is an answer; what is wrong with us is both answered and raised."""
        work = self._verbs.get(verb)
        if work is None:
            answer.refuse(f"cannot do {verb!r}: there is no such verb")
            return
        try:
            work(body, answer)
        except (frames.ProtocolError, RefusedError, ValueError, OSError) as error:
            answer.refuse(str(error))
        except Exception as error:
            answer.refuse(f"cannot do {verb!r}: the supervisor met {error!r}; its log has more")
            raise

    def _hello(self, _: Body, answer: Answer) -> None:
        cages = self._host.cages
        capabilities = (
            ("isolation", self._host.isolation.words),
            ("agent_user", self._host.isolation.household.agent_words),
            ("private_tmp", self._host.isolation.tmp_words),
            ("limits", ",".join(cages.limits)),
            ("limits_rung", cages.words),
            ("volumes", "directories"),
            ("build_calls", self._host.calls.words),
            ("logs", "raw files with an index"),
            ("log_space", "holes" if self._host.logs.has_holes else "whole files: the file system takes no holes"),
            ("proxy", "managed nginx" if self._nginx.available else "none: nginx is not installed"),
        )
        info = SupervisorInfo(VERSION, self._host.boot_id, os.getpid(), capabilities)
        answer.ok(protocol.encode_info(info))

    def _list(self, _: Body, answer: Answer) -> None:
        answer.ok([protocol.encode_process_status(status) for status in self._processes.statuses()])

    def _start(self, body: Body, answer: Answer) -> None:
        self._demand_open()
        status = self._processes.start(protocol.decode_process_spec(body))
        answer.ok(protocol.encode_process_status(status))

    def _stop_process(self, body: Body, answer: Answer) -> None:
        self._processes.stop(frames.process_id(body), _seconds(body, "grace_s"), answer.ok)

    def _replace(self, body: Body, answer: Answer) -> None:
        self._demand_open()
        unwell, grace_s = protocol.decode_unwell(body), _seconds(body, "grace_s")
        self._processes.replace(frames.process_id(body), unwell, grace_s)
        answer.ok()

    def _signal(self, body: Body, answer: Answer) -> None:
        name = frames.field(body, "signal", str)
        if name not in SIGNALS:
            raise frames.ProtocolError(f"cannot read 'signal': it must be one of {', '.join(SIGNALS)}")
        self._processes.signal(frames.process_id(body), SIGNALS[name])
        answer.ok()

    def _stats(self, _: Body, answer: Answer) -> None:
        answer.ok([protocol.encode_usage(*found) for found in self._processes.usages()])

    def _run_job(self, body: Body, answer: Answer) -> None:
        self._demand_open()
        job = job_protocol.decode_job_spec(body)
        if job.kind is JobKind.REMOVE and not job.release:
            self._processes.demand_none(job.service_id, "delete the files of")
        if job.kind is JobKind.RESTORE:
            self._demand_still(job)
        _seconds(body, "deadline_s")

        def done(result: JobResult) -> None:
            answer.ok(job_protocol.encode_job_result(self._swapped(job, result)))

        if job.ends_with_caller:
            answer.if_abandoned(lambda: self._jobs.cancel(job.id, lambda: None))
        self._jobs.run(job, done)

    def _swapped(self, job: JobSpec, result: JobResult) -> JobResult:
        """What was restored whole takes the volume's place, in one step, with nobody in it."""
        if job.kind is not JobKind.RESTORE or (result.outcome, result.code) != ("exited", 0):
            return result
        try:
            self._demand_still(job)
            estates.swap_volume(self._host.paths, job.service_id, job.volume)
        except RefusedError as error:
            return dataclasses.replace(result, outcome="start_failed", code=errno.EBUSY, last_lines=(str(error),))
        except OSError as error:
            code = error.errno or errno.EIO
            return dataclasses.replace(result, outcome="start_failed", code=code, last_lines=(str(error),))
        return result

    def _demand_still(self, job: JobSpec) -> None:
        """Raises RefusedError while anything of the service runs that may write to its volumes."""
        self._processes.demand_none(job.service_id, "restore a volume of")
        self._jobs.demand_no_run(job.service_id, "restore a volume of")

    def _cancel_job(self, body: Body, answer: Answer) -> None:
        self._jobs.cancel(frames.field(body, "job_id", str), answer.ok)

    def _await_job(self, body: Body, answer: Answer) -> None:
        def ended(result: JobResult | None) -> None:
            answer.ok(job_protocol.encode_job_result(result) if result else None)

        self._jobs.join(frames.field(body, "job_id", str), ended)

    def _prepare_build(self, body: Body, answer: Answer) -> None:
        self._host.isolation.prepare_build(frames.service_id(body), frames.number(body, "release"))
        answer.ok()

    def _index_logs(self, body: Body, answer: Answer) -> None:
        self._processes.index_logs(frames.service_id(body))
        answer.ok()

    def _forget(self, body: Body, answer: Answer) -> None:
        """Also what was begun beside the processes ends."""
        service_id = frames.service_id(body)

        def forget() -> None:
            try:
                self._processes.forget(service_id)
            except RefusedError as error:
                answer.refuse(str(error))
            else:
                answer.ok()

        self._jobs.cancel_all(forget, service_id)

    def _measure(self, body: Body, answer: Answer) -> None:
        """Of one service, or of everything."""
        service_id = frames.service_id(body) if body.get("service_id") else ""
        self._measuring.measure(service_id, answer.ok, answer.refuse)

    def _proxy_test(self, body: Body, answer: Answer) -> None:
        generation = frames.number(body, "generation")
        self._host.isolation.prepare_proxy(generation)
        self._nginx.test(generation, lambda good, words: answer.ok([good, words]))

    def _proxy_ensure(self, _: Body, answer: Answer) -> None:
        self._demand_open()
        self._nginx.ensure(answer.ok)

    def _proxy_reload(self, _: Body, answer: Answer) -> None:
        self._nginx.reload()
        answer.ok()

    def _shutdown(self, _: Body, answer: Answer) -> None:
        """Everything ends side by side; the answer comes last, and with it the supervisor's own end."""
        self._ending = True
        left = 3

        def one_done() -> None:
            nonlocal left
            left -= 1
            if not left:
                answer.ok()
                self._stop()

        self._jobs.cancel_all(one_done)
        self._processes.stop_all(SHUTDOWN_GRACE_S, one_done)
        self._nginx.stop(one_done)

    def _demand_open(self) -> None:
        if self._ending:
            raise RefusedError("cannot start anything: the supervisor is shutting down")


def _seconds(body: Body, name: str) -> float:
    value = frames.field(body, name, float)
    if not 0 <= value <= LONGEST_S:
        raise frames.ProtocolError(f"cannot read {name!r}: it must be between 0 and {LONGEST_S:g} seconds")
    return value
