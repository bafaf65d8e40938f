"""One-off commands, and what is done to a volume: what is asked, and how it ended."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class RunSpec:
    """A command for the environment of the service's live release. It may hold a secret, so it is never printed."""

    run_id: str
    service_id: str
    command: str = dataclasses.field(repr=False)
    timeout_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume of a service to be written out, or restored from the archive of that SHA-256."""

    run_id: str
    service_id: str
    volume: str
    archive: str
    timeout_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Ending:
    """`outcome` is exited, signalled, timeout, cancelled or start_failed; `code` the exit code, signal or errno."""

    outcome: str
    code: int
