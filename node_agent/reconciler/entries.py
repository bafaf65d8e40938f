"""The cron entries that may run on this host, and the runs of them: what workers and the clock's watcher share."""

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator

from node_agent import ports
from node_agent.model import cron, spec, status

Key = tuple[str, str]  # service id, name of the entry


@dataclasses.dataclass(frozen=True, slots=True)
class Live:
    """The live release of a service that shall run, filled up with what its source decided."""

    release: spec.ReleaseSpec
    artifact: ports.Artifact


class Entries:
    """In memory. `woken` is set when something may be due that was not known before."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._live: dict[str, Live] = {}
        self._under_way: dict[str, cron.Run] = {}
        self._last: dict[Key, cron.Run] = {}
        self._decided: dict[Key, int] = {}
        self._closed = False

    def know(self, service_id: str, live: Live) -> None:
        """What it has of entries may begin."""
        if self._closed:
            return
        self._live[service_id] = live
        if live.release.cron:
            self.woken.set()

    def may_begin(self, service_id: str) -> bool:
        return service_id in self._live

    def knows(self, service_id: str, release: int) -> bool:
        live = self._live.get(service_id)
        return live is not None and live.release.number == release

    def drop(self, service_id: str) -> None:
        """Nothing of the service shall begin any more."""
        self._live.pop(service_id, None)

    def forget(self, service_id: str) -> None:
        self.drop(service_id)
        for key in [key for key in self._last if key[0] == service_id]:
            del self._last[key]
            self._decided.pop(key, None)

    def close(self) -> None:
        """Somebody else acts for this host from now on."""
        self._closed = True
        self._live.clear()

    def all(self) -> Iterator[tuple[str, Live, spec.CronEntry]]:
        """Those that may begin at the moment in which they are asked for."""
        for service_id, live in tuple(self._live.items()):
            for entry in live.release.cron:
                if self._live.get(service_id) is live:
                    yield service_id, live, entry

    # runs

    def remember(self, runs: Iterable[cron.Run]) -> tuple[cron.Run, ...]:
        """What a former agent journalled, in the order in which it did; those that were under way."""
        for run in runs:
            self.begin(run)
            if run.outcome:
                del self._under_way[run.job_id]
        return tuple(self._under_way.values())

    def begin(self, run: cron.Run) -> None:
        self._under_way[run.job_id] = self._last[run.service_id, run.entry] = run
        self.decide(run.service_id, run.entry, run.minute)

    def decide(self, service_id: str, entry: str, minute: int) -> None:
        """It had its turn in `minute`."""
        self._decided[service_id, entry] = minute

    def end(self, run: cron.Run) -> None:
        """`run` has its outcome."""
        self._under_way.pop(run.job_id, None)
        key = run.service_id, run.entry
        if key in self._last and self._last[key].job_id == run.job_id:
            self._last[key] = run

    def last_minute(self, service_id: str, entry: str) -> int | None:
        return self._decided.get((service_id, entry))

    def under_way(self, service_id: str, entry: str = "") -> tuple[cron.Run, ...]:
        return tuple(
            run for run in self._under_way.values() if run.service_id == service_id and entry in {"", run.entry}
        )

    def busy(self, service_id: str) -> frozenset[int]:
        """The releases of the service in whose trees something runs."""
        return frozenset(run.release for run in self.under_way(service_id))

    def told(self, service_id: str, now: float) -> tuple[status.CronReport, ...]:
        """Each entry of the live release, as the control plane shall know it."""
        live = self._live.get(service_id)
        return tuple(self._report(service_id, entry, int(now // 60)) for entry in live.release.cron) if live else ()

    def _report(self, service_id: str, entry: spec.CronEntry, minute: int) -> status.CronReport:
        last, decided = self._last.get((service_id, entry.name)), self.last_minute(service_id, entry.name)
        outcome = (last.outcome or "running") if last else ""
        return status.CronReport(
            name=entry.name,
            schedule=entry.schedule,
            next_at=cron.next_at(entry, minute, decided),
            last_started_at=last.started_at if last else 0.0,
            last_outcome=cron.problem(entry) or outcome,
        )
