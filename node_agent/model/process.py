"""Processes and jobs as the supervisor's door speaks of them."""

import dataclasses
import enum
import os

from node_agent import paths
from node_agent.model.crash import Crash


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


# What applications are given: below the ephemeral range, so that no outgoing connection takes one.
NOT_FOUND = 127  # what a shell exits with when a program is not there
SAID_LINES = 5
FIRST_PORT, LAST_PORT = 20000, 29999
LEAST_MEMORY, LEAST_CPU, LEAST_PIDS = 4 << 20, 0.01, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """What a process tree may use at most; 0 is no limit. `strict`: rather not start than start without one of them."""

    memory_bytes: int = 0
    cpu: float = 0.0
    pids: int = 0
    strict: bool = False

    def named(self) -> dict[str, float]:
        """Those that are set, by the names of the API."""
        found = {"memory": self.memory_bytes, "cpu": self.cpu, "pids": self.pids}
        return {name: value for name, value in found.items() if value}

    @property
    def words_of_memory(self) -> str:
        """Why something was ended that used more."""
        return f"more than {self.memory_bytes / (1 << 20):g} MiB of memory"

    def problem(self) -> str:
        """What no program can live with, and what can; empty when all is well."""
        if 0 < self.memory_bytes < LEAST_MEMORY:
            return f"limits.memory_bytes: a program needs at least {LEAST_MEMORY} bytes"
        if 0 < self.cpu < LEAST_CPU:
            return f"limits.cpu: at least {LEAST_CPU:g} of a core can be given"
        if 0 < self.pids < LEAST_PIDS:
            return f"limits.pids: at least {LEAST_PIDS} are needed"
        return ""


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """What a process tree uses now; `oom_kills` counts since its cage was made."""

    memory_bytes: int = 0
    cpu_s: float = 0.0
    pids: int = 0
    oom_kills: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What the supervisor needs to start a process: ids and typed values, no path and no file descriptor.

    `command` is the user's `run_cmd`, the one text that a shell reads, inside the process's own sandbox. The working
    directory is `working_dir` below the sealed tree of (service, release). `toolchain` is a directory name below
    toolchains/ whose bin/ comes first in PATH, or empty. `volumes` are the names of those that it is told of.
    """

    id: ProcessId
    command: str
    env: tuple[tuple[str, str], ...] = dataclasses.field(repr=False)
    toolchain: str
    working_dir: str
    port: int
    commit: str
    limits: Limits = Limits()
    volumes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Unwell:
    """Why a process that runs shall have another life. `pid` is the life that is meant, `well_s` how long that was healthy."""

    pid: int
    words: str
    well_s: float = 0.0


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
    crash: Crash | None = None

    @property
    def last_lines(self) -> tuple[str, ...]:
        """What it wrote before it crashed last."""
        return self.crash.lines if self.crash else ()


JOB_GRACE_S = 10.0  # for a run of a cron entry that is ended


class JobKind(enum.Enum):
    """Each is a verb of the supervisor, so that one that does not know it refuses."""

    BUILD = "run_job"
    UNPACK = "unpack"
    OPEN = "open_build"
    SEAL = "seal_release"
    REMOVE = "remove_files"
    RELEASE = "run_release"
    CLEAR = "clear_caches"
    RUN = "run_command"
    CHECK = "run_check"
    BACKUP = "backup_volume"
    RESTORE = "restore_volume"
    CRON = "run_cron"


PIPED = frozenset({JobKind.RUN, JobKind.BACKUP, JobKind.RESTORE})


@dataclasses.dataclass(frozen=True, slots=True)
class JobSpec:
    """Something that runs to its end. `deadline_s` is from the start of the job.

    A build: `command` is the user's `build_cmd`, run by a shell in `working_dir` below the build tree; its output goes
    to the service's build log of that release. Unpacking fills that tree from the release's archive instead, by a
    program of our own. A run is one-off: `command` in the sealed release tree, with the environment of its processes;
    its output goes to the two pipes of `run_id`, which whoever asks has open, and it ends when that connection does.
    A release command is `command` in the sealed release tree too, with that environment, but its output goes to the
    build log. It ends with the connection of whoever asked, too.
    Opening hands the build tree over to the user of the service's builds, where there is one; sealing takes it back, for
    the service to read (a `static` site for the proxy, too) and nobody but the agent to write; removing deletes what those
    users may have made: the build tree, or without a release all that the service has beside its logs. Clearing empties
    the temporary files of its builds and, without a release, their caches too; no build of the service may run.
    A check is a run whose output nobody wants, for the process that listens on `port`.
    A run of a cron `entry`, due at `minute` (since the epoch), is one within the limits of the release's processes, whose
    output goes to the log of the service, and which goes on when whoever asked is gone. All these are told of `volumes`.
    A backup writes the directory of `volume` to the pipes of `run_id`; restoring puts what is in the archive of `run_id`
    in its place, while no process of the service runs; with a `volume`, removing deletes what is left of restoring it.
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
    static: bool = False
    volumes: tuple[str, ...] = ()
    volume: str = ""
    entry: str = ""
    minute: int = 0
    limits: Limits = Limits()

    @property
    def is_build(self) -> bool:
        """Does its output belong to the build log?"""
        return self.kind not in {*PIPED, JobKind.CHECK, JobKind.CRON, JobKind.REMOVE, JobKind.CLEAR}

    @property
    def log_name(self) -> str:
        """By what name of a process its lines are logged; empty when they are not."""
        if self.kind is JobKind.CRON:
            return f"{paths.CRON}{self.entry}"
        return "build" if self.is_build else ""

    @property
    def grace_s(self) -> float:
        """How long it may go on after it was asked to end."""
        return JOB_GRACE_S if self.kind is JobKind.CRON else 0.0

    @property
    def ends_with_caller(self) -> bool:
        """Would nobody want its result, or read its pipes, when whoever asked for it is gone?"""
        return self.kind is JobKind.RELEASE or not (self.is_build or self.kind is JobKind.CRON)

    @property
    def hands_over(self) -> bool:
        """Is it needed only where apps and builds have users of their own?"""
        return self.kind in {JobKind.OPEN, JobKind.SEAL, JobKind.REMOVE, JobKind.CLEAR} and not self.volume

    @property
    def id(self) -> str:
        if self.kind is JobKind.CRON:
            return self.cron_id(self.service_id, self.release, self.entry, self.minute)
        if not self.is_build:
            what = "clear" if self.kind is JobKind.CLEAR else self.run_id or self.volume or self.port
            return f"{self.service_id}.r{self.release}.{what}.run"
        return self.build_id(self.service_id, self.release)

    @staticmethod
    def cron_id(service_id: str, release: int, entry: str, minute: int) -> str:
        return f"{service_id}.r{release}.cron-{entry}.{minute}.run"

    @staticmethod
    def build_id(service_id: str, release: int) -> str:
        return f"{service_id}.r{release}.build"


@dataclasses.dataclass(frozen=True, slots=True)
class JobResult:
    """`outcome` is exited, signalled, oom, timeout, cancelled or start_failed; `code` the exit code, signal or errno."""

    outcome: str
    code: int
    duration_s: float
    last_lines: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """How it ended, and what it wrote last: the end of a sentence that begins with its command."""
        missing = "; it needs a program that is not there" if self.code == NOT_FOUND else ""
        how = {
            "exited": f"exited with code {self.code}{missing}",
            "signalled": f"was ended by signal {self.code}",
            "cancelled": "was cancelled",
            "timeout": "did not end in time",
            "start_failed": f"could not be started: {os.strerror(self.code)}",
        }.get(self.outcome, f"ended with {self.outcome} {self.code}")
        said = "; ".join(line.strip() for line in self.last_lines[-SAID_LINES:] if line.strip())[:1500]
        return how + (f"; last lines: {said}" if said else "")


@dataclasses.dataclass(frozen=True, slots=True)
class SupervisorInfo:
    version: str
    boot_id: str
    pid: int
    capabilities: tuple[tuple[str, str], ...]
