"""How much room logs may take, and which service gives up how much. Decides; touches nothing."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

from node_agent.model import log_index
from node_agent.model.log_index import SIZE, Entry, Source

MIB = 1 << 20
DAY_S = 86400.0
BEHIND = 64 * MIB  # that a service's numbering may be, at most: numbered in 30 ms when its process ends


@dataclasses.dataclass(frozen=True, slots=True)
class Budgets:
    """The most bytes on the disk that the log of one service, and all logs of the host, take; the most age of a line."""

    service_bytes: int = 512 * MIB
    host_bytes: int = 4096 * MIB
    age_s: float = 30 * DAY_S

    @classmethod
    def parse(cls, text: str) -> "Budgets":
        """From MiB of a service, MiB of the host and days, such as `512,4096,30`. ValueError when it is not that."""
        parts = text.split(",")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and 0 < int(part) < 1 << 32 for part in parts):
            raise ValueError(
                f"cannot use {text!r} as the limits of logs: write MiB of a service, MiB of the host and days, "
                "such as 512,4096,30"
            )
        service, host, days = map(int, parts)
        return cls(service * MIB, host * MIB, days * DAY_S)

    @property
    def step(self) -> int:
        """After how many new bytes it is worth looking again."""
        return max(64 << 10, min(32 * MIB, self.service_bytes // 16))


@dataclasses.dataclass(frozen=True, slots=True)
class Cut:
    """The oldest lines of a service go until `free` bytes are free and none is older than `before`."""

    service_id: str
    free: int
    before: float


def plan(
    used: Mapping[str, int], budgets: Budgets, now: float, flooded: Collection[str] = frozenset()
) -> tuple[Cut, ...]:
    """One cut for each service that has bytes on the disk; most free nothing but what is too old.

    What is over seven eighths of its budget is cut to three quarters: cuts are rare, and a flood that goes on meanwhile
    has some room. Those that are `flooded` have a quarter less, so that the flood is within the budget even when we are
    held up for a while. Where the host has too little room the largest logs give way first: what a flood takes is not taken
    from the quiet.
    """
    cap = min(budgets.service_bytes, fair_share(used.values(), budgets.host_bytes))
    before = now - budgets.age_s
    return tuple(
        Cut(service_id, _too_much(size, cap, cap // 4 if service_id in flooded else 0), before)
        for service_id, size in used.items()
    )


def _too_much(size: int, cap: int, less: int) -> int:
    limit, goal = cap - cap // 8 - less, cap - cap // 4 - less
    return size - goal if size > limit else 0


def in_a_hurry(behind: Mapping[str, int], budgets: Budgets) -> set[str]:
    """Which services may not wait any longer until what they wrote is numbered: `behind` counts the bytes of each."""
    if sum(behind.values()) > budgets.host_bytes // 8:
        return set(behind)
    most = min(budgets.service_bytes // 8, BEHIND)
    return {service_id for service_id, size in behind.items() if size > most}


def fair_share(sizes: Iterable[int], total: int) -> int:
    """The most that each may have so that all together have at most `total`."""
    left, ordered = total, sorted(sizes)
    for position, size in enumerate(ordered):
        share = left // (len(ordered) - position)
        if size > share:
            return share
        left -= size
    return total


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """The first `count` entries, of `freed` bytes, are given up for `gap`; `last` are the last of each raw file in them."""

    count: int
    freed: int
    gap: Entry
    last: dict[Source, Entry]


Ends = frozenset[tuple[Source, int]]  # of entries: the raw file, and the offset behind it


def take(oldest: Iterable[Entry | None], cut: Cut, kept: Ends = frozenset()) -> Given | None:
    """Which of the `oldest` entries `cut` takes; None for none. It ends at a good entry, so that the count is right, and
    before the first that ends at one of `kept`.
    """
    good: Entry | None = None
    count = freed = first_seq = 0
    last: dict[Source, Entry] = {}
    for number, entry in enumerate(oldest, start=1):
        if entry is None:
            continue
        if (freed >= cut.free and entry.time >= cut.before) or (entry.source, entry.offset + entry.length) in kept:
            break
        first_seq = first_seq or entry.seq
        good, count = entry, number
        freed += entry.length + SIZE
        if not entry.gap:
            last[entry.source] = entry
        elif entry.source in last:  # the program cut its file: what stood there before is gone
            del last[entry.source]
    if good is None or (good.gap and count == 1):
        return None
    gap = log_index.lost(first_seq, good.next_seq - first_seq, good.time)
    return Given(count, freed, gap, last)
