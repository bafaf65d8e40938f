"""How a process ended: what is kept of it, and the words in which it is told. Pure."""

import dataclasses
import enum

LAST_LINES = 50


class Kind(enum.StrEnum):
    EXITED = "exited"
    SIGNALLED = "signalled"
    OOM = "oom"
    START_FAILED = "start_failed"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclasses.dataclass(frozen=True, slots=True)
class Crash:
    """One end that nobody asked for. `code` is the exit code, the signal or the errno, as `kind` says.

    `at` is in seconds since the epoch; `cpu_s` and `max_rss_bytes` are of the process and the children it waited for,
    0 when the process was adopted. `words` say more where there is more to say.
    """

    kind: Kind
    code: int
    words: str
    at: float
    ran_s: float
    cpu_s: float = 0.0
    max_rss_bytes: int = 0
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As reports show it in short."""
        if self.kind in {Kind.EXITED, Kind.SIGNALLED}:
            return f"{self.kind.value}({self.code})"
        return f"{self.kind.value}: {self.words}" if self.words else self.kind.value
