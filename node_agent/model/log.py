"""Log lines as readers get them, and what they may ask for."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class LogQuery:
    """The last `tail` lines that match, or all after `after_seq` when that is given; then new ones when `follow`."""

    service_id: str
    tail: int = 100
    follow: bool = False
    after_seq: int = 0
    source: str = ""
    release: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class LogLine:
    """One line as the app wrote it, without its newline; `gap_to` not 0 marks lines seq … gap_to as lost."""

    seq: int
    time: float
    stream: str
    process: str
    release: int
    line: bytes
    gap_to: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class LogBatch:
    """`caught_up` is True on the batch that completes the tail."""

    lines: tuple[LogLine, ...]
    caught_up: bool = False
