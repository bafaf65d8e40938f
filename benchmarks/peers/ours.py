"""Our own supervisor, asked over its socket as the agent does. Each program is a service with a log of its own."""

import contextlib
import pathlib
import shlex
import socket
import sys
from typing import Any

from benchmarks.peers.base import Supervisor
from node_agent.model import log_index
from node_agent.model.process import ProcessId, ProcessSpec
from node_agent.paths import Paths
from node_agent.supervisor import frames, protocol
from tests.waiting import wait_until

COMMAND = (sys.executable, "-m", "node_agent.supervisor", "--data-dir")
FRESH_S = 30.0


class Ours(Supervisor):
    name = "dployr"

    @property
    def paths(self) -> Paths:
        return Paths(self.directory / "data")

    def configure(self) -> None:
        for name in self.programs:
            self.paths.release_tree(self._service(name), 1).mkdir(parents=True)

    def run(self) -> None:
        self.popen(*COMMAND, str(self.paths.root))
        wait_until(self._is_there, FRESH_S, "our supervisor")

    def run_again(self) -> None:
        self.run()

    def down(self) -> None:
        """In good order first, so that no control group is left."""
        with contextlib.suppress(OSError):
            self._ask([{"verb": "shutdown"}])
            wait_until(lambda: not self.own(), FRESH_S, "the end of our supervisor")
        super().down()

    def start(self) -> None:
        self._ask([{"verb": "start", **protocol.encode_process_spec(self._spec(name))} for name in self.programs])

    def log(self, name: str) -> pathlib.Path:
        return self.paths.log_file(self._service(name), "web.1", 1, "stdout")

    def processes(self) -> list[dict[str, Any]]:
        return list(self._ask([{"verb": "processes"}])[0]["ok"])

    def indexed(self) -> int:
        """Lines that have a number."""
        data = (path.read_bytes() for name in self.programs if (path := self._index(name)).exists())
        return sum(entry.lines for read in data for entry in log_index.unpack_all(read) if entry)

    def _index(self, name: str) -> pathlib.Path:
        return self.paths.log_index(self._service(name))

    def _service(self, name: str) -> str:
        return f"svc_{list(self.programs).index(name):026}"

    def _spec(self, name: str) -> ProcessSpec:
        return ProcessSpec(
            id=ProcessId(self._service(name), 1, 0, "web.1"),
            command=f"exec {shlex.join(self.programs[name])}",
            env=(),
            toolchain="",
            working_dir="",
            port=0,
            commit="",
        )

    def _is_there(self) -> bool:
        try:
            self._ask([{"verb": "hello"}])
        except OSError:
            return False
        return True

    def _ask(self, requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The answers, once all are there; raises OSError, also for a refusal."""
        with socket.socket(socket.AF_UNIX) as peer, frames.address(self.paths.supervisor_socket) as address:
            peer.connect(address)
            peer.sendall(b"".join(frames.encode_frame({"id": n, **asked}) for n, asked in enumerate(requests)))
            buffer, answers = frames.FrameBuffer(), dict[int, dict[str, Any]]()
            while len(answers) < len(requests):
                data = peer.recv(1 << 16)
                if not data:
                    raise OSError("the supervisor closed the connection")
                answers |= {frame["id"]: frame for frame in buffer.feed(data) if "id" in frame}
        if refused := [answer["error"] for answer in answers.values() if "error" in answer]:
            raise OSError(refused[0])
        return [answers[number] for number in range(len(requests))]
