"""How many refusals of one instance are written down: a hostile one must not fill the database, also not by reconnecting."""

from control_plane import clock

MAX_AUDITED = 50
WINDOW_S = 3600.0


class Refusals:
    """Counts for each instance over all its sessions; kept in memory, one entry for each that was ever refused."""

    def __init__(self, now: clock.Clock) -> None:
        self._clock = now
        self._windows: dict[str, tuple[float, int]] = {}  # instance → (when it began, how many)

    def take(self, instance_id: str) -> bool:
        """Whether one more may be written down."""
        now = self._clock.monotonic()
        began, count = self._windows.get(instance_id, (now, 0))
        if now - began >= WINDOW_S:
            began, count = now, 0
        self._windows[instance_id] = (began, count + 1)
        return count < MAX_AUDITED
