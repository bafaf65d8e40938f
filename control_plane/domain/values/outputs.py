"""Lines of logs, what one-off commands write, and how either is asked for. Imported by way of `values`."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class LogQuery:
    service_id: str
    tail: int = 100
    follow: bool = False
    after_seq: int = 0
    source: str = ""
    release: int = 0
    since: float = 0.0
    until: float = 0.0
    grep: str = ""
    stream: str = ""
    process: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class LogLine:
    """`gap_to` not 0 marks the lines seq … gap_to as lost. `late`: written while no supervisor ran, `time` is the file's."""

    seq: int
    time: float
    stream: str
    process: str
    release: int
    line: bytes
    gap_to: int = 0
    late: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class RunQuery:
    """A one-off command in the environment of a service's live release."""

    run_id: str
    service_id: str
    command: str
    timeout_s: float

    @property
    def what(self) -> str:
        """In words, for errors."""
        return "the command"


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeQuery:
    """A volume to be written out, or to be restored from `archive`; answered as a run is."""

    run_id: str
    service_id: str
    volume: str
    archive: str
    timeout_s: float

    @property
    def what(self) -> str:
        return f"the {'restore' if self.archive else 'backup'} of the volume {self.volume}"


@dataclasses.dataclass(frozen=True, slots=True)
class RunOutput:
    """A piece of what a one-off command wrote; the last one has `outcome` and `code` instead.

    `outcome` is exited, signalled, timeout, cancelled or start_failed; `code` the exit code, signal or errno.
    """

    stream: str = ""
    data: bytes = b""
    outcome: str = ""
    code: int = 0
