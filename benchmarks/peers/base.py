"""What all supervisors of the bench have in common, and how they are looked at from outside: by /proc, and by what the
programs themselves say in the file of stamps.
"""

import abc
import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.peers.install import Tools
from tests.waiting import wait_until

TICKS = os.sysconf("SC_CLK_TCK")
LOOKS, LOOK_S = 3, 12.0  # what a start leaves to be done may come ten seconds later
Programs = Mapping[str, Sequence[str]]  # arguments of the child by the program's name


@dataclasses.dataclass(frozen=True, slots=True)
class Stamp:
    """A program said that it runs, or is done: `at` in seconds of the monotonic clock."""

    pid: int
    at: float


class Supervisor(abc.ABC):
    """One supervisor with a directory of its own. `up` runs it with programs that wait for `start`."""

    name = ""

    def __init__(self, directory: pathlib.Path, tools: Tools) -> None:
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        self.directory, self.tools = directory, tools
        self.stamped = directory / "stamps"
        self.stamped.touch()
        self.stamped.chmod(0o666)
        self.programs: dict[str, tuple[str, ...]] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    # what each kind does in its own way

    @abc.abstractmethod
    def configure(self) -> None:
        """Write down `self.programs`."""

    @abc.abstractmethod
    def run(self) -> None:
        """Start the supervisor; returns when it takes commands."""

    @abc.abstractmethod
    def start(self) -> None:
        """Ask for all programs over its control channel; returns when all are asked for."""

    def run_again(self) -> None:
        """As after a boot: also the programs are asked for, unless it starts them by itself."""
        self.run()
        self.start()

    def log(self, name: str) -> pathlib.Path:
        """The file that holds what the program wrote."""
        return self.directory / "logs" / f"{name}.log"

    # common

    def up(self, programs: Programs) -> None:
        self.programs = {name: (str(self.tools.child), *words) for name, words in programs.items()}
        (self.directory / "logs").mkdir(exist_ok=True)
        self.configure()
        self.run()

    def down(self) -> None:
        """By pid, the supervisor first, until nothing is left that names the directory."""
        wait_until(self._kill_rest, what=f"the end of {self.name}")
        for started in self._started:
            started.wait()

    def _kill_rest(self) -> bool:
        own, children = self.own(), self.children()
        for pid in own or children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not own and not children

    def kill(self) -> None:
        """SIGKILL to all that the supervisor consists of; the programs are not touched."""
        for pid in (before := self.own()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not set(before) & set(self.own()), what=f"the end of {self.name}")

    def popen(self, *command: str, **environment: str) -> None:
        """A process whose environment names the directory, and with it all that it starts."""
        env = {"PATH": os.environ["PATH"], "HOME": str(self.directory), "BENCH": str(self.directory), **environment}
        with (self.directory / "output").open("ab") as output:
            started = subprocess.Popen(
                command, cwd=self.directory, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip
        self._started.append(started)

    def stamps(self) -> list[Stamp]:
        whole = self.stamped.read_text().rpartition("\n")[0].splitlines()
        return [Stamp(int(pid), int(at) / 1e9) for pid, at in (line.split() for line in whole)]

    def wait_stamps(self, count: int, timeout: float = 60.0) -> list[Stamp]:
        wait_until(lambda: len(self.stamps()) >= count, timeout, f"{count} stamps of {self.name}")
        return self.stamps()

    def own(self) -> list[int]:
        """Pids of the supervisor and its helpers."""
        return [pid for pid, is_child in self._all() if not is_child]

    def children(self) -> list[int]:
        """Pids of the programs that run."""
        return [pid for pid, is_child in self._all() if is_child]

    def _all(self) -> Iterable[tuple[int, bool]]:
        for entry in os.listdir("/proc"):  # noqa: PTH208 - names only, often
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                process = pathlib.Path("/proc", entry)
                words = (process / "cmdline").read_bytes()
                if words and self._marks(words + b"\0" + (process / "environ").read_bytes()):
                    yield int(entry), words.startswith(bytes(self.tools.child) + b"\0")

    def _marks(self, text: bytes) -> bool:
        found = bytes(self.directory)
        return any(found + end in text for end in (b"/", b"\0"))

    def rss_mb(self) -> float:
        return sum(_rollup(pid, "Rss:") for pid in self.own()) / 1024

    def pss_mb(self) -> float:
        return sum(_rollup(pid, "Pss:") for pid in self.own()) / 1024

    def cpu_s(self) -> float:
        """CPU seconds that its own processes have used."""
        return sum(_cpu_s(pid) for pid in self.own())

    def rest(self) -> None:
        """Wait until a whole look long nothing of it used the processor; one that never rests is taken as it is."""
        for _ in range(LOOKS):
            before = self.cpu_s()
            time.sleep(LOOK_S)
            if self.cpu_s() == before:
                return


def _rollup(pid: int, field: str) -> int:
    with contextlib.suppress(OSError):
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(text.partition(field)[2].split()[0])
    return 0


def _cpu_s(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0
