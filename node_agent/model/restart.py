"""When a process that ended is started again: at once, then after 1, 2, 4 … 60 s, for ever.

Times are monotonic seconds; `chance` in [0, 1) is drawn by the caller. Nothing here gives up: a process that crashes
five times within a minute is called crash looping, is tried more slowly, and is forgiven once it was up for a minute.
One that was ended because it was unhealthy is judged by how long it was well: it may have been up for long without that.
"""

import dataclasses

FORGIVEN_AFTER_S = 60.0
LOOP_WINDOW_S = 60.0
LOOP_EXITS = 5
MAX_DELAY_S = 60.0
JITTER = 0.25


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """What is held against a process: how often it failed in a row, when lately, and whether it loops."""

    failures: int = 0
    recent: tuple[float, ...] = ()
    looping: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Exit:
    """One life of a process. `well_s` is how long it was healthy, when it was ended because it no longer was."""

    started: float
    ended: float
    well_s: float | None = None

    @property
    def good_s(self) -> float:
        return self.ended - self.started if self.well_s is None else self.well_s


@dataclasses.dataclass(frozen=True, slots=True)
class Restart:
    """Start again `after_s` seconds from the exit; `history` is what the next decision begins with."""

    after_s: float
    history: History


def next_restart(history: History, end: Exit, chance: float) -> Restart:
    """What follows on an exit nobody asked for."""
    if end.good_s >= FORGIVEN_AFTER_S:
        history = History()
    failures = history.failures + 1
    lately = [at for at in (*history.recent, end.ended) if end.ended - at < LOOP_WINDOW_S]
    recent = tuple(lately[-LOOP_EXITS:])
    never_well = end.well_s is not None and failures >= LOOP_EXITS  # each of its lives may last longer than the window
    looping = history.looping or len(recent) >= LOOP_EXITS or never_well
    return Restart(_delay(failures, chance), History(failures, recent, looping))


def _delay(failures: int, chance: float) -> float:
    if failures <= 1:
        return 0.0
    base = min(MAX_DELAY_S, 2.0 ** min(failures - 2, 10))
    return base * (1.0 - JITTER * chance)
