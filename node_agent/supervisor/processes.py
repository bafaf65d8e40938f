"""The table of processes: start, stop, signal, what they use.

One process id never has two copies: whatever is left of a tree is ended before the next one starts, and what a former
supervisor started is found before anything is started at all.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator

import failpoints
from node_agent.model.process import ProcessId, ProcessSpec, ProcessStatus, Unwell, Usage
from node_agent.model.process_state import Event, State
from node_agent.supervisor import adoption, endings, procfs
from node_agent.supervisor.host import Host, RefusedError
from node_agent.supervisor.lives import Lives, Table
from node_agent.supervisor.loop import note
from node_agent.supervisor.process import Process
from node_agent.supervisor.records import Record
from node_agent.supervisor.watchdog import Watchdog

UP = frozenset({State.STARTING, State.RUNNING})


class Processes:
    """Of each id at most one."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._table: Table = {}
        self._watchdog = Watchdog(host, self._table.values)
        self._lives = Lives(host, self._table, self._watchdog.wake)

    def adopt(self, records: list[Record], found: adoption.Found, snapshot: procfs.Snapshot) -> None:
        """Once at start: take over what runs, go on with what was begun. Raises nothing."""
        adoption.Adoption(self._host, self._table, self._lives).run(records, found, snapshot)
        self._watchdog.wake()

    def statuses(self) -> list[ProcessStatus]:
        return [process.status() for process in self._table.values()]

    def usages(self) -> Iterator[tuple[ProcessId, Usage]]:
        """What each tree uses now: its cage says so, else its members are counted together."""
        snapshot: procfs.Snapshot | None = None
        for process in self._table.values():
            with contextlib.suppress(OSError):
                if process.cage is not None:
                    yield process.id, process.cage.usage()
                else:
                    snapshot = snapshot or procfs.take_snapshot(str(self._host.paths.root))
                    yield (
                        process.id,
                        procfs.usage([member.pid for member in snapshot.tree(str(process.id), process.record.pid)]),
                    )

    @failpoints.around("process.begin")
    def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Start it, or tell how it is. Raises RefusedError when the intent cannot be recorded."""
        known = self._table.get(spec.id)
        if known is not None:
            self._complete(known, spec)
            return known.status()
        process = self._table[spec.id] = Process(Record(spec, State.STOPPED))
        self._lives.prepare(process, Event.START)
        try:
            self._host.records.save(process.record, durable=True)
        except OSError as error:
            self._lives.flush_log(process)
            del self._table[spec.id]
            raise RefusedError(f"cannot record {spec.id}: {error}; free some disk space") from error
        self._lives.spawn(process)
        return process.status()

    def _complete(self, known: Process, spec: ProcessSpec) -> None:
        """One that was found without a record learns how it is started, and is if it ended meanwhile."""
        if not known.record.spec.command:
            known.change(spec=spec)
            self._lives.save(known, durable=True)
        if known.record.state is State.EXITED and not known.again:
            known.again = True
            self._lives.end_tree(known, 0.0)

    @failpoints.around("process.stop")
    def stop(self, process_id: ProcessId, grace_s: float, done: Callable[[], None]) -> None:
        """SIGTERM, `grace_s`, kill of the tree; `done` when nothing is left. At once for an unknown id."""
        process = self._table.get(process_id)
        if process is None:
            done()
            return
        process.stopped.append(done)
        state = process.record.state
        if state is not State.STOPPING and state is not State.STOPPED:
            process.cancel_timer()
            process.change(grace_s=max(0.0, grace_s))
            self._lives.move(process, Event.STOP)
            if process.record.pid:
                endings.signal_group(process.record.pid, signal.SIGTERM)
        self._lives.end_tree(process, grace_s if process.record.pid else 0.0)

    def replace(self, process_id: ProcessId, unwell: Unwell, grace_s: float) -> None:
        """End this life; what follows on its end is as after a crash. Raises RefusedError when it is over already."""
        process = self._table.get(process_id)
        record = process.record if process else None
        if process is None or record is None or record.state not in UP or record.pid != unwell.pid:
            raise RefusedError(f"cannot replace {process_id}: pid {unwell.pid} of it does not run")
        if process.unwell is None:
            process.unwell = unwell
            note("process.unhealthy", id=process_id, pid=record.pid, why=unwell.words)
            endings.signal_group(record.pid, signal.SIGTERM)
            self._host.endings.begin(str(process_id), record.pid, grace_s, lambda: None, process.cage)

    def stop_all(self, grace_s: float, done: Callable[[], None]) -> None:
        left = list(self._table)
        if not left:
            done()

        def one_done(process_id: ProcessId) -> None:
            left.remove(process_id)
            if not left:
                done()

        for process_id in tuple(left):
            self.stop(process_id, grace_s, lambda process_id=process_id: one_done(process_id))  # type: ignore[misc]

    def signal(self, process_id: ProcessId, number: signal.Signals) -> None:
        """Send it to the main process. Raises RefusedError when there is none."""
        process = self._table.get(process_id)
        record = process.record if process else None
        if record is None or not procfs.kill(record.pid, record.started_ticks, number):
            raise RefusedError(f"cannot signal {process_id}: it does not run")

    def demand_none(self, service_id: str, what: str) -> None:
        """Raises RefusedError while a process of the service is left."""
        if left := [str(found) for found in self._table if found.service_id == service_id]:
            raise RefusedError(f"cannot {what} {service_id}: stop {', '.join(left)} first")

    def index_logs(self, service_id: str) -> None:
        self._host.logs.index(service_id)

    @failpoints.around("service.forget")
    def forget(self, service_id: str) -> None:
        """Raises RefusedError while a process of the service is left."""
        self.demand_none(service_id, "forget")
        try:
            self._host.logs.forget(service_id)
        except OSError as error:
            raise RefusedError(f"cannot delete the logs of {service_id}: {error}") from error
        try:
            self._host.isolation.forget(service_id)
        except OSError as error:
            raise RefusedError(f"cannot record that {service_id} is gone: {error}; free some disk space") from error
