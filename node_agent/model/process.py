"""Processes and jobs as the supervisor's door speaks of them."""

import dataclasses
import enum


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessId:
    """One process of one release; `restart` tells the copies apart that a wished restart makes."""

    service_id: str
    release: int
    restart: int
    name: str

    def __str__(self) -> str:
        return f"{self.service_id}.r{self.release}.n{self.restart}.{self.name}"

    @classmethod
    def parse(cls, text: str) -> "ProcessId":
        """The reverse of `str`; ValueError when it is none."""
        service_id, release, restart, name = text.split(".", 3)
        if not release.startswith("r") or not restart.startswith("n"):
            raise ValueError(f"cannot read {text!r} as a process id")
        return cls(service_id, int(release[1:]), int(restart[1:]), name)


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What the supervisor needs to start a process: ids and typed values, no path and no file descriptor.

    `command` is the user's `run_cmd`, the one text that a shell reads, inside the process's own sandbox. The working
    directory is `working_dir` below the sealed tree of (service, release). `toolchain` is a directory name below
    toolchains/ whose bin/ comes first in PATH, or empty.
    """

    id: ProcessId
    command: str
    env: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    toolchain: str
    working_dir: str
    port: int
    commit: str


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessStatus:
    """`state` is a value of process_state.State; times are seconds since the epoch; pid 0 when nothing runs."""

    id: ProcessId
    state: str
    pid: int
    port: int
    started_at: float
    restarts: int
    last_exit: str
    last_lines: tuple[str, ...] = ()


class JobKind(enum.Enum):
    """Each is a verb of the supervisor, so that one that does not know it refuses."""

    BUILD = "run_job"
    UNPACK = "unpack"
    RUN = "run_command"
    CHECK = "run_check"


@dataclasses.dataclass(frozen=True, slots=True)
class JobSpec:
    """Something that runs to its end. `deadline_s` is from the start of the job.

    A build: `command` is the user's `build_cmd`, run by a shell in `working_dir` below the build tree; its output goes
    to the service's build log of that release. Unpacking fills that tree from the release's archive instead, by a
    program of our own. A run is one-off: `command` in the sealed release tree, with the environment of its processes;
    its output goes to the two pipes of `run_id`, which whoever asks has open, and it ends when that connection does.
    A check is a run whose output nobody wants, for the process that listens on `port`.
    """

    service_id: str
    release: int
    command: str
    env: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    toolchain: str
    working_dir: str
    deadline_s: float
    kind: JobKind = JobKind.BUILD
    run_id: str = ""
    commit: str = ""
    port: int = 0

    @property
    def is_build(self) -> bool:
        """Does its output belong to the build log?"""
        return self.kind in {JobKind.BUILD, JobKind.UNPACK}

    @property
    def id(self) -> str:
        if not self.is_build:
            return f"{self.service_id}.r{self.release}.{self.run_id or self.port}.run"
        return self.build_id(self.service_id, self.release)

    @staticmethod
    def build_id(service_id: str, release: int) -> str:
        return f"{service_id}.r{release}.build"


@dataclasses.dataclass(frozen=True, slots=True)
class JobResult:
    """`outcome` is exited, signalled, timeout, cancelled or start_failed; `code` the exit code, signal or errno."""

    outcome: str
    code: int
    duration_s: float
    last_lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisorInfo:
    version: str
    boot_id: str
    pid: int
    capabilities: tuple[tuple[str, str], ...]
