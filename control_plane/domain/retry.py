"""When a delivery is tried again. Pure: the caller reads the clock and draws the chance."""

OFFSETS_S = (0.0, 5.0, 30.0, 120.0, 600.0, 3600.0, 21_600.0, 86_400.0)  # from the first attempt
ATTEMPTS = len(OFFSETS_S)
JITTER = 0.1  # of the gap, and only later: receivers that fail together are not asked together again
REST_S = 5.0  # a receiver that took long to fail gets at least this


def next_attempt(number: int, began_at: float, ended_at: float, chance: float) -> float | None:
    """When to try again after attempt `number` (from 1) failed; None when it was the last. `chance` is in [0, 1).

    Gaps count from the beginning of an attempt, so that slow failures do not stretch the schedule. They do not count
    from the event: one that waited long for its turn has all its attempts before it.
    """
    if number >= ATTEMPTS:
        return None
    gap_s = OFFSETS_S[number] - OFFSETS_S[number - 1]
    return max(began_at + gap_s * (1.0 + JITTER * chance), ended_at + REST_S)
