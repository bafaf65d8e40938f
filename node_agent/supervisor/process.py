"""One process id and where it is in its life: the entry of the table."""

import dataclasses
from collections.abc import Callable

from node_agent.model.process import Limits, ProcessId, ProcessStatus, Unwell
from node_agent.supervisor.cages import Cage
from node_agent.supervisor.loop import Timer
from node_agent.supervisor.records import Record


@dataclasses.dataclass(slots=True)
class Process:
    """`record` is the durable part, replaced as a whole.

    `cage` is None for one that runs in none. `over` says which limit the watchdog ended it for, `unwell` why the agent did.
    """

    record: Record
    cage: Cage | None = None
    oom_kills: int = 0
    over: str = ""
    unwell: Unwell | None = None
    timer: Timer | None = None
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)
    stopped: list[Callable[[], None]] = dataclasses.field(default_factory=list)
    logged: bool = False
    again: bool = False  # asked to start again, once nothing of its former life is left
    unsaved: bool = False

    @property
    def id(self) -> ProcessId:
        return self.record.spec.id

    @property
    def marker(self) -> str:
        return str(self.id)

    @property
    def main_pid(self) -> int:
        return self.record.pid

    @property
    def limits(self) -> Limits:
        return self.record.spec.limits

    @property
    def wanted(self) -> bool:
        return self.record.grace_s < 0

    def change(self, **changes: object) -> None:
        self.record = dataclasses.replace(self.record, **changes)  # type: ignore[arg-type]

    def status(self) -> ProcessStatus:
        r = self.record
        return ProcessStatus(
            r.spec.id, r.state.value, r.pid, r.spec.port, r.started_at, r.restarts, r.last_exit, r.crash
        )

    def cancel_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
