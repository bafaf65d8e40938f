"""The processes of releases: start, restart by policy, stop, adopt.

One process id never has two copies: whatever is left of a tree is ended before the next one starts, and what a former
supervisor started is found by marker and record before anything is started at all.
"""

import dataclasses
import signal
from collections.abc import Callable

from node_agent.model import process_state, restart
from node_agent.model.process import ProcessId, ProcessSpec, ProcessStatus
from node_agent.model.process_state import ALIVE, ENDED, WAITING, Event, State
from node_agent.supervisor import children, endings, launch, procfs
from node_agent.supervisor.host import Host, RefusedError
from node_agent.supervisor.loop import Timer, note
from node_agent.supervisor.procfs import Member
from node_agent.supervisor.records import Record

UP_AFTER_S = 1.0


@dataclasses.dataclass(slots=True)
class Process:
    """One process id and where it is in its life. `record` is the durable part, replaced as a whole."""

    record: Record
    timer: Timer | None = None
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    stopped: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    logged: bool = False
    again: bool = False  # asked to start again, once nothing of its former life is left

    @property
    def id(self) -> ProcessId:
        return self.record.spec.id

    @property
    def wanted(self) -> bool:
        return self.record.grace_s < 0

    def status(self) -> ProcessStatus:
        r = self.record
        return ProcessStatus(
            r.spec.id, r.state.value, r.pid, r.spec.port, r.started_at, r.restarts, r.last_exit, r.last_lines
        )


class Processes:
    """The table of processes."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._table: dict[ProcessId, Process] = {}

    def statuses(self) -> list[ProcessStatus]:
        return [process.status() for process in self._table.values()]

    def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Start it, or tell how it is. Raises RefusedError when the intent cannot be recorded."""
        known = self._table.get(spec.id)
        if known is None:
            known = self._table[spec.id] = Process(Record(spec, State.STOPPED))
        else:
            self._complete(known, spec)
            return known.status()
        self._prepare(known, Event.START)
        try:
            self._host.records.save(known.record, durable=True)
        except OSError as error:
            self._flush_log(known)
            del self._table[spec.id]
            raise RefusedError(f"cannot record {spec.id}: {error}; free some disk space") from error
        self._spawn(known)
        return known.status()

    def _complete(self, known: Process, spec: ProcessSpec) -> None:
        """One that was found without a record learns how it is started, and is if it ended meanwhile."""
        if not known.record.spec.command:
            known.record = dataclasses.replace(known.record, spec=spec)
            self._save(known, durable=True)
        if known.record.state is State.EXITED and not known.again:
            known.again = True
            self._end_tree(known, 0.0)

    def stop(self, process_id: ProcessId, grace_s: float, done: Callable[[], None]) -> None:
        """SIGTERM, `grace_s`, kill of the tree; `done` when nothing is left. At once for an unknown id."""
        process = self._table.get(process_id)
        if process is None:
            done()
            return
        process.stopped.append(done)
        state = process.record.state
        if state is not State.STOPPING and state is not State.STOPPED:
            self._cancel_timer(process)
            process.record = dataclasses.replace(process.record, grace_s=max(0.0, grace_s))
            self._move(process, Event.STOP)
            if process.record.pid:
                endings.signal_group(process.record.pid, signal.SIGTERM)
        self._end_tree(process, grace_s if process.record.pid else 0.0)

    def stop_all(self, grace_s: float, done: Callable[[], None]) -> None:
        left = list(self._table)

        def one_done(process_id: ProcessId) -> None:
            left.remove(process_id)
            if not left:
                done()

        for process_id in tuple(left):
            self.stop(process_id, grace_s, lambda process_id=process_id: one_done(process_id))  # type: ignore[misc]
        if not self._table:
            done()

    def index_logs(self, service_id: str) -> None:
        self._host.logs.index(service_id)

    def forget(self, service_id: str) -> None:
        """Raises RefusedError while a process of the service is left."""
        if left := [str(found) for found in self._table if found.service_id == service_id]:
            raise RefusedError(f"cannot forget {service_id}: stop {', '.join(left)} first")
        try:
            self._host.logs.forget(service_id)
        except OSError as error:
            raise RefusedError(f"cannot delete the logs of {service_id}: {error}") from error

    def adopt(self, records: list[Record], marked: dict[str, list[Member]], snapshot: procfs.Snapshot) -> None:
        """Once at start: take over what runs, go on with what was begun. Raises nothing."""
        for record in records:
            members = marked.pop(str(record.spec.id), [])
            recorded = snapshot.members.get(record.pid)
            if recorded and self._is_recorded(record, recorded):
                members = [recorded, *members]
            self._resume(Process(record), members)
        for marker, members in list(marked.items()):
            try:
                process_id = ProcessId.parse(marker)
            except ValueError:
                continue
            del marked[marker]
            spec = ProcessSpec(process_id, "", (), "", "", members[0].port, "")
            self._resume(Process(Record(spec, State.RUNNING)), members)

    def _is_recorded(self, record: Record, member: Member) -> bool:
        """Is it what the record speaks of, and not another one that got its pid?"""
        same = (member.started, self._host.boot_id) == (record.started_ticks, record.boot_id)
        return same and member.marker in {"", str(record.spec.id)}

    def _resume(self, process: Process, members: list[Member]) -> None:
        self._table[process.id] = process
        main = next((m for m in members if self._adopt_main(process, m)), None)
        if main is None:
            self._resume_ended(process)
        elif not process.wanted:
            process.record = dataclasses.replace(process.record, state=State.STOPPING)
            endings.signal_group(main.pid, signal.SIGTERM)
            self._end_tree(process, process.record.grace_s)
        else:
            process.record = dataclasses.replace(process.record, state=State.RUNNING)
            self._save(process)
            note("process.adopted", id=process.id, pid=main.pid)

    def _adopt_main(self, process: Process, main: Member) -> bool:
        if not self._host.children.adopt(main.pid, main.started, lambda status: self._ended(process, status)):
            return False
        if main.pid != process.record.pid or main.started != process.record.started_ticks:
            now = self._host.clock.now()
            process.record = dataclasses.replace(
                process.record,
                pid=main.pid,
                started_ticks=main.started,
                boot_id=self._host.boot_id,
                started_at=procfs.started_at(main.started, now),
                started_monotonic=self._host.clock.monotonic(),
            )
        self._open_log(process)
        return True

    def _resume_ended(self, process: Process) -> None:
        """It ended, or never began, while no supervisor looked."""
        record = process.record
        if record.boot_id != self._host.boot_id:
            record = dataclasses.replace(record, history=restart.History(), started_monotonic=0.0, retry_at=0.0)
        process.record = dataclasses.replace(record, pid=0)
        if not process.wanted:
            process.record = dataclasses.replace(process.record, state=State.STOPPED)
            self._end_tree(process, 0.0)
        elif record.state in ALIVE:
            process.record = dataclasses.replace(process.record, state=State.RUNNING)
            self._ended(process, None)
        elif record.state in WAITING:
            self._end_tree(process, 0.0)

    # one life

    def _prepare(self, process: Process, event: Event) -> None:
        """Another life begins; the caller saves the record before it spawns."""
        self._move(process, event)
        self._open_log(process)
        name = process.id
        process.sizes = self._host.logs.sizes(name.service_id, name.name, name.release)
        process.record = dataclasses.replace(
            process.record,
            pid=0,
            boot_id=self._host.boot_id,
            started_at=self._host.clock.now(),
            started_monotonic=self._host.clock.monotonic(),
        )

    def _spawn(self, process: Process) -> None:
        """What goes wrong here is an exit like any other."""
        try:
            pid = launch.spawn(launch.process_launch(self._host.paths, process.record.spec))
        except launch.StartError as error:
            note("process.start_failed", id=process.id, error=error)
            self._died(process, f"start_failed: {error}")
            return
        self._host.children.expect(pid, lambda status: self._ended(process, status))
        process.record = dataclasses.replace(process.record, pid=pid, started_ticks=procfs.started(pid))
        self._save(process)
        process.timer = self._host.loop.later(UP_AFTER_S, lambda: self._move(process, Event.STAYED_UP))
        note("process.started", id=process.id, pid=pid)
        self._host.changed(process.id.service_id)

    def _ended(self, process: Process, status: int | None) -> None:
        """The main process is gone."""
        if self._table.get(process.id) is not process:
            return  # its tree was gone before its exit was seen, and its successor has the same marker
        words = children.describe_exit(status)
        note("process.ended", id=process.id, pid=process.record.pid, exit=words)
        if process.record.state is State.STOPPING:
            process.record = dataclasses.replace(process.record, last_exit=words)
            self._host.endings.hurry()
        else:
            self._died(process, words)

    def _died(self, process: Process, words: str) -> None:
        """Nobody asked for this end: decide when to start again, and end what is left of the tree before."""
        self._cancel_timer(process)
        self._flush_log(process)
        record, now = process.record, self._host.clock.monotonic()
        leader = record.pid
        life = restart.Exit(record.started_monotonic, now)
        following = restart.next_restart(record.history, life, self._host.chance.random())
        spec_id = record.spec.id
        lines = self._host.logs.last_lines(spec_id.service_id, spec_id.name, spec_id.release, process.sizes)
        process.record = dataclasses.replace(
            record,
            pid=0,
            last_exit=words,
            last_lines=lines,
            history=following.history,
            retry_at=now + following.after_s,
        )
        if record.spec.command:
            self._move(process, Event.DIED)
            if following.history.looping:
                self._move(process, Event.LOOPED)
        else:
            self._move(process, Event.COMPLETED)
        self._save(process)
        self._end_tree(process, 0.0, leader)

    def _end_tree(self, process: Process, grace_s: float, leader: int = 0) -> None:
        leader = leader or process.record.pid
        self._host.endings.begin(str(process.id), leader, grace_s, lambda: self._gone(process))

    def _gone(self, process: Process) -> None:
        """Nothing of the tree is left."""
        if self._table.get(process.id) is not process:
            return
        state = process.record.state
        if not process.wanted:
            self._finish_stop(process)
        elif process.again:
            process.again = False
            self._prepare(process, Event.START)
            self._save(process)
            self._spawn(process)
        elif state in WAITING and process.timer is None:
            wait = process.record.retry_at - self._host.clock.monotonic()
            process.timer = self._host.loop.later(max(0.0, wait), lambda: self._retry(process))

    def _retry(self, process: Process) -> None:
        process.timer = None
        process.record = dataclasses.replace(process.record, restarts=process.record.restarts + 1)
        self._prepare(process, Event.RETRY)
        self._save(process)
        self._spawn(process)

    def _finish_stop(self, process: Process) -> None:
        self._flush_log(process)
        del self._table[process.id]
        self._host.records.remove(str(process.id))
        if process.record.state not in ENDED:
            self._move(process, Event.GONE)
        note("process.stopped", id=process.id)
        self._host.changed(process.id.service_id)
        for done in process.stopped:
            done()

    def _move(self, process: Process, event: Event) -> None:
        process.record = dataclasses.replace(
            process.record, state=process_state.next_state(process.record.state, event)
        )
        if event is Event.STOP:
            self._save(process, durable=True)
        if event is Event.STAYED_UP:
            process.timer = None
        self._host.changed(process.id.service_id)

    def _save(self, process: Process, *, durable: bool = False) -> None:
        try:
            self._host.records.save(process.record, durable=durable)
        except OSError as error:  # the process runs all the same, and its marker finds it again
            note("record.not_written", id=process.id, error=error)

    def _open_log(self, process: Process) -> None:
        if not process.logged:
            process.logged = True
            self._host.logs.open(process.id.service_id, process.id.name, process.id.release)

    def _flush_log(self, process: Process) -> None:
        if process.logged:
            process.logged = False
            self._host.logs.close(process.id.service_id, process.id.name, process.id.release)

    @staticmethod
    def _cancel_timer(process: Process) -> None:
        if process.timer is not None:
            process.timer.cancel()
            process.timer = None
