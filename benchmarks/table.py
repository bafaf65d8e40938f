"""The rows of a bench that compares several programs: samples by row and program, their medians, the printed table."""

import dataclasses
import json
import statistics
from typing import Any

OURS = "dployr"


@dataclasses.dataclass(slots=True)
class Row:
    unit: str
    more_is_better: bool = False
    against: str = ""  # the only peer that the row names; empty: the best
    is_total: bool = False
    samples: dict[str, list[float]] = dataclasses.field(default_factory=dict)

    def summary(self) -> dict[str, float]:
        """Or sums, where a median would hide something."""
        of = sum if self.is_total else statistics.median
        return {name: round(of(found), 3) for name, found in self.samples.items()}


class Table:
    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}

    def row(self, what: str, unit: str, **words: Any) -> None:
        """Begin a row; `words` are those of Row."""
        self._rows[what] = Row(unit, **words)

    def add(self, what: str, name: str, value: float) -> None:
        """One sample of the program `name`."""
        self._rows[what].samples.setdefault(name, []).append(value)

    def result(self) -> list[dict[str, Any]]:
        """Each row with the best peer beside ours, and all peers."""
        return [_result(what, row) for what, row in self._rows.items() if OURS in row.samples]

    def print(self) -> None:
        names = sorted({name for row in self._rows.values() for name in row.samples}, key=lambda name: name != OURS)
        print(f"{'':>22}      " + "".join(f"{name:>16}" for name in names))
        for what, row in self._rows.items():
            found = row.summary()
            cells = (f"{found[name]:16.2f}" if name in found else f"{'-':>16}" for name in names)
            print(f"{what:>22} {row.unit:<5}" + "".join(cells))

    def print_bench(self, bench: str) -> None:
        print("BENCH " + json.dumps({"bench": bench, "rows": self.result()}))


def _result(what: str, row: Row) -> dict[str, Any]:
    found = row.summary()
    mine = found.pop(OURS)
    best = max if row.more_is_better else min
    peer = row.against or (best(found, key=lambda name: found[name]) if found else "")
    return {
        "what": what,
        "ours": mine,
        "peer": found.get(peer),
        "peer_name": peer,
        "unit": row.unit,
        "peers": found,
    }
