"""The lives of a process: start, end, start again by policy.

The way from an end to the next start is kept short: the end is seen before all else, an empty cage says that nothing of
the tree is left, and what is written down of it, is written afterwards.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import failpoints
from node_agent.model import process_state, restart
from node_agent.model.crash import Crash, Kind
from node_agent.model.process import ProcessId
from node_agent.model.process_state import ENDED, WAITING, Event, State
from node_agent.supervisor import launch, procfs
from node_agent.supervisor.children import UNKNOWN, End
from node_agent.supervisor.host import Host
from node_agent.supervisor.loop import note
from node_agent.supervisor.process import Process

UP_AFTER_S = 1.0

Table = dict[ProcessId, Process]


class Lives:
    """Moves the processes of `table`; one that is stopped leaves it. Calls `runs` whenever one was started."""

    def __init__(self, host: Host, table: Table, runs: Callable[[], None]) -> None:
        self._host, self._table, self._runs = host, table, runs

    def prepare(self, process: Process, event: Event) -> None:
        """Another life begins."""
        self.move(process, event)
        self.open_log(process)
        name = process.id
        process.sizes = self._host.logs.sizes(name.service_id, name.name, name.release)
        process.change(
            pid=0,
            boot_id=self._host.boot_id,
            started_at=self._host.clock.now(),
            started_monotonic=self._host.clock.monotonic(),
        )

    @failpoints.around("process.spawn")
    def spawn(self, process: Process) -> None:
        """What goes wrong here is an end like any other."""
        spec = process.record.spec
        process.over, process.unwell = "", None
        try:
            self._host.demand_limits(spec.limits)
            if process.cage is None:
                process.cage = self._host.caged(str(spec.id), spec.limits)
            identity = self._host.identity(spec.id.service_id, spec.volumes)
            wanted = launch.process_launch(self._host.paths, spec, identity)
            pid = self._host.spawn(spec.id.service_id, wanted, process.cage)
        except launch.StartError as error:
            process.cage = None  # made anew the next time, should it be the reason
            note("process.start_failed", id=process.id, error=error)
            self._died(process, self._crash(process, Kind.START_FAILED, error.code, str(error)))
            return
        self._host.children.expect(pid, lambda end: self.ended(process, end))
        process.change(pid=pid, started_ticks=procfs.started(pid))
        self.count_oom_kills(process)
        self._runs()
        self.save(process)
        process.timer = self._host.loop.later(UP_AFTER_S, lambda: self.move(process, Event.STAYED_UP))
        note("process.started", id=process.id, pid=pid)
        self._host.changed(process.id.service_id)

    def ended(self, process: Process, end: End) -> None:
        """The main process is gone."""
        if self._table.get(process.id) is not process:
            return  # its tree was gone before its exit was seen, and its successor has the same marker
        note("process.ended", id=process.id, pid=process.record.pid, exit=end)
        if process.record.state is State.STOPPING:
            process.change(last_exit=str(end))
            self._host.endings.check(str(process.id))
        else:
            self._died(process, self._explain(process, end))

    def end_tree(self, process: Process, grace_s: float, leader: int = 0) -> None:
        leader = leader or process.record.pid
        self._host.endings.begin(str(process.id), leader, grace_s, lambda: self._gone(process), process.cage)

    def move(self, process: Process, event: Event) -> None:
        process.change(state=process_state.next_state(process.record.state, event))
        if event is Event.STOP:
            self.save(process, durable=True)
        if event is Event.STAYED_UP:
            process.timer = None
        self._host.changed(process.id.service_id)

    def save(self, process: Process, *, durable: bool = False) -> None:
        """At once when `durable`, else once in this pass of the loop, however much changes meanwhile."""
        if durable:
            self._write(process, durable=True)
        elif not process.unsaved:
            process.unsaved = True
            self._host.loop.later(0.0, lambda: self._write(process, durable=False))

    def open_log(self, process: Process) -> None:
        if not process.logged:
            process.logged = True
            self._host.logs.open(process.id.service_id, process.id.name, process.id.release)

    def flush_log(self, process: Process) -> None:
        if process.logged:
            process.logged = False
            self._host.logs.close(process.id.service_id, process.id.name, process.id.release)

    def count_oom_kills(self, process: Process) -> None:
        """Those of former lives."""
        process.oom_kills = self._oom_kills(process)

    # from an end to the next start

    def _died(self, process: Process, crash: Crash) -> None:
        """Nobody asked for this end: decide when to start again, and end what is left of the tree before."""
        process.cancel_timer()
        record, now = process.record, self._host.clock.monotonic()
        life = restart.Exit(record.started_monotonic, now, process.unwell.well_s if process.unwell else None)
        following = restart.next_restart(record.history, life, self._host.chance.random())
        process.change(pid=0, last_exit=str(crash), history=following.history, retry_at=now + following.after_s)
        if record.spec.command:
            self.move(process, Event.DIED)
            if following.history.looping:
                self.move(process, Event.LOOPED)
        else:
            self.move(process, Event.COMPLETED)
        before, after = process.sizes, self._settle_log(process)
        self.end_tree(process, 0.0, record.pid)
        self._host.loop.later(0.0, lambda: self._keep(process, crash, before, after))

    def _keep(self, process: Process, crash: Crash, before: dict[str, int], after: dict[str, int]) -> None:
        """What it wrote last goes into its crash record, once there is time for it."""
        name = process.id
        lines = self._host.logs.last_lines(name.service_id, name.name, name.release, before, after)
        process.change(crash=dataclasses.replace(crash, lines=lines))
        self.save(process)
        self._host.changed(name.service_id)

    def _settle_log(self, process: Process) -> dict[str, int]:
        """Number what was written up to here, the last line too; how long the files are now."""
        name = process.id
        logs = self._host.logs
        logs.open(name.service_id, name.name, name.release)
        logs.close(name.service_id, name.name, name.release)
        return logs.sizes(name.service_id, name.name, name.release)

    def _gone(self, process: Process) -> None:
        """Nothing of the tree is left."""
        if self._table.get(process.id) is not process:
            return
        if not process.logged:  # of a life that a former supervisor began: it may have written until now
            self._host.logs.index(process.id.service_id)
        if not process.wanted:
            self._finish_stop(process)
        elif process.again:
            process.again = False
            self.prepare(process, Event.START)
            self.spawn(process)
        elif process.record.state in WAITING and process.timer is None:
            wait = process.record.retry_at - self._host.clock.monotonic()
            if wait <= 0:
                self._retry(process)
            else:
                process.timer = self._host.loop.later(wait, lambda: self._retry(process))

    def _retry(self, process: Process) -> None:
        process.timer = None
        process.change(restarts=process.record.restarts + 1)
        self.prepare(process, Event.RETRY)
        self.spawn(process)

    @failpoints.around("process.stopped")
    def _finish_stop(self, process: Process) -> None:
        self.flush_log(process)
        del self._table[process.id]
        self._host.records.remove(str(process.id))
        self._host.discard(process.cage)
        if process.record.state not in ENDED:
            self.move(process, Event.GONE)
        note("process.stopped", id=process.id)
        self._host.changed(process.id.service_id)
        for done in process.stopped:
            done()

    # why it ended

    def _explain(self, process: Process, end: End) -> Crash:
        if process.unwell is not None:
            kind, words = Kind.UNHEALTHY, process.unwell.words
        elif end.status == 0:
            kind, words = Kind.EXITED, ""
        elif process.over or self._oom_kills(process) > process.oom_kills:
            kind, words = Kind.OOM, process.over or process.limits.words_of_memory
        else:
            kind, words = Kind.UNKNOWN, ""
            if end.status is not None:
                kind = Kind.EXITED if end.code >= 0 else Kind.SIGNALLED
        return self._crash(process, kind, abs(end.code), words, end)

    def _crash(self, process: Process, kind: Kind, code: int, words: str, end: End = UNKNOWN) -> Crash:
        ran_s = self._host.clock.monotonic() - process.record.started_monotonic
        return Crash(kind, code, words, self._host.clock.now(), ran_s, end.cpu_s, end.max_rss_bytes)

    def _oom_kills(self, process: Process) -> int:
        if process.cage is None or not process.record.spec.limits.memory_bytes:
            return 0
        with contextlib.suppress(OSError):
            return process.cage.oom_kills()
        return process.oom_kills

    def _write(self, process: Process, *, durable: bool) -> None:
        process.unsaved = False
        if self._table.get(process.id) is not process:
            return
        try:
            self._host.records.save(process.record, durable=durable)
        except OSError as error:  # the process runs all the same, and its marker finds it again
            note("record.not_written", id=process.id, error=error)
