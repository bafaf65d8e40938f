"""Log lines as readers get them, and what they may ask for."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class LogQuery:
    """The last `tail` lines that match, or all after `after_seq` when that is given; then new ones when `follow`.

    What is not given matches every line; `since` and `until` are seconds since the epoch, `grep` is part of the line.
    """

    service_id: str
    tail: int = 100
    follow: bool = False
    after_seq: int = 0
    source: str = ""
    release: int = 0
    since: float = 0.0
    until: float = 0.0
    grep: bytes = b""
    stream: str = ""
    process: str = ""

    def wants(self, process: str, release: int, stream: str) -> bool:
        """Can what this process of this release writes there match?"""
        is_build = process == "build"
        return (
            (not self.source or (self.source == "build") == is_build)
            and self.release in {0, release}
            and self.stream in {"", stream}
            and self.process in {"", process}
        )

    def wants_time(self, time: float) -> bool:
        return time >= self.since and not 0 < self.until < time


@dataclasses.dataclass(frozen=True, slots=True)
class LogLine:
    """One line as the app wrote it, without its newline; `gap_to` not 0 marks lines seq … gap_to as lost. `late`: it was
    written while no supervisor ran, and `time` is that of its file.
    """

    seq: int
    time: float
    stream: str
    process: str
    release: int
    line: bytes
    gap_to: int = 0
    late: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class LogBatch:
    """`caught_up` is True on the batch that completes the tail."""

    lines: tuple[LogLine, ...]
    caught_up: bool = False
