"""A host with the real supervisor and the real agent, which was told of its services once and hears nothing more; and
what an init system does for both: start them again.
"""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

from node_agent.model import log_space, spec
from node_agent.paths import Paths
from node_agent.state.journal import Journal
from node_agent.supervisor import frames
from tests import log_life
from tests.e2e.platform import Repository, free_port
from tests.oracle import logs, processes
from tests.waiting import wait_until, wait_until_async

REPOSITORY = pathlib.Path(__file__).parents[1]
# Counts its lines of three kilobytes, each in its log first; every fifth goes to standard error. A detached child outlives it if it can.
APP = """
import os, socket, threading, time

server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
threading.Thread(target=lambda: [server.accept()[0].close() for _ in iter(int, 1)], daemon=True).start()
os.posix_spawn("/bin/sleep", ["/bin/sleep", "1000"], os.environ, setsid=True)
life = f"{os.getpid()}-{time.monotonic_ns()}"
counted = os.path.join(os.environ["HOME"], "counted")
os.makedirs(counted, exist_ok=True)
file = os.open(os.path.join(counted, life), os.O_WRONLY | os.O_CREAT, 0o644)
number = 0
while True:
    number += 1
    os.write(1 + (number % 5 == 0), b"%s %d %d %s\\n" % (life.encode(), number, time.monotonic_ns(), b"x" * 2900))
    os.pwrite(file, b"%012d" % number, 0)
    time.sleep(0.01)
"""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Host:
    """`parts` are the host side; each is started again as soon as `keep` sees that it is gone. `options` are the
    supervisor's.
    """

    def __init__(self, root: pathlib.Path, services: int, *options: str) -> None:
        self.paths = Paths((root / "data").resolve())
        self.paths.root.mkdir(mode=0o700)
        self.services = ["svc_" + "".join(random.choices(ALPHABET, k=26)) for _ in range(services)]
        self._log = root / "log"
        self._source = Repository(root / "source")
        self._source.commit(main__py=APP)
        data = ("--data-dir", str(self.paths.root))
        nowhere = ("--hub", "127.0.0.1:1", "--enrol", "127.0.0.1:1", "--join-token-file", str(root / "no-token"))
        proxy = ("--proxy-listen", f"127.0.0.1:{free_port()}")
        self._commands = {
            "supervisor": ("node_agent.supervisor", *data, *options),
            "agent": ("node_agent", "run", *data, *nowhere, *proxy, "--allow-file-remotes"),
        }
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self._built: dict[str, int] = {}

    async def begin(self) -> None:
        """Returns when all are live: what dies before is a failed release, and is not tried again."""
        journal = await Journal.open(self.paths.journal)
        for service_id in self.services:
            await journal.put_wish(self._wish(service_id))
        self.keep()

        async def all_live() -> bool:
            return all([await journal.live(service_id) for service_id in self.services])

        try:
            await wait_until_async(all_live, 300, f"{len(self.services)} live releases ({self._log})")
        finally:
            await journal.close()
        self._built = {service_id: self._build_lines(service_id) for service_id in self.services}

    def _wish(self, service_id: str) -> spec.ServiceSpec:
        release = spec.ReleaseSpec(
            number=1, remote=self._source.as_uri(), branch="main", commit="", runtime=spec.Runtime.PYTHON, version="3",
            build_cmd="", run_cmd="exec python3 main.py", working_dir="", static_dir="", port=3000, env=(),
            health_check=spec.HealthCheck(),
        )  # fmt: skip
        return spec.ServiceSpec(service_id, 1, "app", spec.Run.RUNNING, 0, release)

    def keep(self) -> None:
        """Start what is gone."""
        for name, command in self._commands.items():
            if name not in self.parts or self.parts[name].poll() is not None:
                with self._log.open("ab") as log:
                    self.parts[name] = subprocess.Popen(
                        [sys.executable, "-m", *command], cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )  # fmt: skip

    def kill(self, name: str) -> None:
        self.parts[name].send_signal(signal.SIGKILL)
        self.parts[name].wait()

    def power_off(self) -> None:
        """Nothing of the host lives on."""
        for name in tuple(self.parts):
            self.kill(name)
        wait_until(lambda: not [kill(pid) for pid in processes.every_pid(self.paths.root)], what="the end of all")

    def running(self) -> dict[str, tuple[list[int], list[int]]]:
        """Per service the pids of its applications and of their detached children: more than one is one too many."""
        every = processes.of(self.paths.root)
        return {
            service_id: (
                sorted(found.pid for found in every if found.service == service_id and "main.py" in found.words),
                sorted(found.pid for found in every if found.service == service_id and "/bin/sleep" in found.words),
            )
            for service_id in self.services
        }

    def recorded(self, service_id: str) -> int:
        """The pid of its application that a supervisor wrote down last. What it began before it could do so, its successor
        ends: nothing tells that from what an application left behind.
        """
        lines = [
            line for file in self.paths.records.glob(f"{service_id}.*.json") for line in file.read_text().splitlines()
        ]
        whole = [line.partition(" ")[2] for line in lines if line.endswith("}")]
        return int(json.loads(whole[-1])["pid"]) if whole else 0

    def counted(self, service_id: str) -> int:
        """How many lines the lives of a service have counted."""
        directory = self.paths.home(service_id) / "counted"
        return sum(int(file.read_text() or 0) for file in directory.iterdir()) if directory.exists() else 0

    def written(self, service_id: str) -> int:
        """Bytes of its log, whether they are still there or were given up."""
        return sum(file.stat().st_size for file in self.paths.logs(service_id).glob("*.r*.*"))

    def _build_lines(self, service_id: str) -> int:
        return sum(len(file.read_bytes().splitlines()) for file in self.paths.logs(service_id).glob("build.*"))

    def end(self) -> None:
        """Agent, then everything by the supervisor's own command, which finds nobody while one is only starting."""
        wait_until(self._listens, 60, "the supervisor")
        if agent := self.parts.pop("agent", None):
            agent.terminate()
            agent.wait(30)
        command = [sys.executable, "-m", "node_agent.supervisor", "shutdown", "--data-dir", str(self.paths.root)]
        subprocess.run(command, cwd=REPOSITORY, check=True, timeout=90)
        self.parts.pop("supervisor").wait(30)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as door, frames.address(self.paths.supervisor_socket) as address:
            return not door.connect_ex(address)

    def close(self) -> None:
        """Whatever a failed test left."""
        self.power_off()

    def verdicts(self) -> dict[str, logs.Found]:
        where = ((service_id, self.paths.service(service_id)) for service_id in self.services)
        return {
            service_id: logs.judge(path / "logs", path / "home" / "counted", self._built[service_id])
            for service_id, path in where
        }

    def compress(self) -> None:
        """Let hours pass in which nobody writes: each file of some length is compressed."""
        hours = [lambda _: None] * (10 * len(self.services))
        log_life.live(self.paths, hours, log_space.Budgets(), now=time.time() + 7200, alive=())


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
