"""What a new supervisor does with what a former one left: takes it over, or goes on with what was begun."""

import contextlib
import signal

from node_agent.model import restart
from node_agent.model.process import ProcessId, ProcessSpec
from node_agent.model.process_state import ALIVE, WAITING, State
from node_agent.supervisor import endings, procfs
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.children import UNKNOWN
from node_agent.supervisor.host import Host
from node_agent.supervisor.lives import Lives, Table
from node_agent.supervisor.loop import note
from node_agent.supervisor.process import Process
from node_agent.supervisor.procfs import Member
from node_agent.supervisor.records import Record

Found = dict[str, list[Member]]


def find(host: Host, snapshot: procfs.Snapshot) -> Found:
    """Our processes by marker, the most likely main one first: by what they carry, and by the cage they are in."""
    found = snapshot.marked()
    found.pop("", None)
    for name in host.cages.names():
        cage = host.cages.find(name)
        members = {member.pid: member for member in found.get(name, [])}
        caged = cage.members() if cage else []
        members |= {pid: snapshot.members[pid] for pid in caged if pid in snapshot.members}
        found[name] = sorted(members.values(), key=procfs.seniority)
    return found


class Adoption:
    """Works once, at start, and raises nothing."""

    def __init__(self, host: Host, table: Table, lives: Lives) -> None:
        self._host, self._table, self._lives = host, table, lives

    def run(self, records: list[Record], found: Found, snapshot: procfs.Snapshot) -> None:
        """By marker and cage first, by record second."""
        for record in records:
            members = found.pop(str(record.spec.id), [])
            if record.boot_id == self._host.boot_id and not record.is_between:
                recorded = snapshot.members.get(record.pid)
                # Whatever else carries its marker is what it left behind when it ended, never its main process.
                members = [recorded] if recorded and self._is_recorded(record, recorded) else []
            self._resume(Process(record), members)
        for marker, members in found.items():
            try:
                process_id = ProcessId.parse(marker)
            except ValueError:
                continue
            if members:
                spec = ProcessSpec(process_id, "", (), "", "", members[0].port, "")
                self._resume(Process(Record(spec, State.RUNNING)), members)
            elif cage := self._host.cages.find(marker):
                self._host.discard(cage)

    def _is_recorded(self, record: Record, member: Member) -> bool:
        """Is it what the record speaks of, and not another one that got its pid?"""
        same = (member.started, self._host.boot_id) == (record.started_ticks, record.boot_id)
        return same and member.marker in {"", str(record.spec.id)}

    def _resume(self, process: Process, members: list[Member]) -> None:
        self._table[process.id] = process
        main = next((m for m in members if self._take_over(process, m)), None)
        cage = self._cage(process)
        if cage is not None and (main is None or main.pid in cage.members()):
            process.cage = cage
        if main is None:
            self._resume_ended(process)
        elif not process.wanted:
            process.change(state=State.STOPPING)
            endings.signal_group(main.pid, signal.SIGTERM)
            self._lives.end_tree(process, process.record.grace_s)
        else:
            process.change(state=State.RUNNING)
            self._lives.save(process)
            self._lives.count_oom_kills(process)
            note("process.adopted", id=process.id, pid=main.pid)

    def _cage(self, process: Process) -> Cage | None:
        """Its limits are put in force again: they are lifted for a moment while a process is born."""
        name, limits = str(process.id), process.record.spec.limits
        cage = self._host.cages.find(name)
        if cage is not None and limits.named():
            with contextlib.suppress(OSError):
                cage = self._host.cages.create(name, limits)
        return cage

    def _take_over(self, process: Process, main: Member) -> bool:
        if not self._host.children.adopt(main.pid, main.started, lambda end: self._lives.ended(process, end)):
            return False
        if main.pid != process.record.pid or main.started != process.record.started_ticks:
            process.change(
                pid=main.pid,
                started_ticks=main.started,
                boot_id=self._host.boot_id,
                started_at=procfs.started_at(main.started, self._host.clock.now()),
                started_monotonic=self._host.clock.monotonic(),
            )
        self._lives.open_log(process)
        return True

    def _resume_ended(self, process: Process) -> None:
        """It ended, or never began, while no supervisor looked."""
        state = process.record.state
        if process.record.boot_id != self._host.boot_id:
            process.change(history=restart.History(), started_monotonic=0.0, retry_at=0.0)
        process.change(pid=0)
        if not process.wanted:
            process.change(state=State.STOPPED)
            self._lives.end_tree(process, 0.0)
        elif state in ALIVE:
            process.change(state=State.RUNNING)
            self._lives.ended(process, UNKNOWN)
        elif state in WAITING:
            self._lives.end_tree(process, 0.0)
