"""`dployr up` and `down` with the real daemons: one owner per directory, restarts, left-overs, and a clean end."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest

from dployr.stack import processes
from dployr.stack.addresses import free_port
from dployr.stack.directory import Directory
from tests.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ("node_agent.supervisor", "control_plane", "node_agent")
pytestmark = pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="nginx is not installed"
)


class Up:
    """`dployr up` on one data directory, again and again."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.data = directory / "data"
        self.api, self.proxy = free_port(), free_port()
        self.log = directory / "up.log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *more: str) -> list[str]:
        addresses = ("--api", f"127.0.0.1:{self.api}", "--proxy", f"127.0.0.1:{self.proxy}")
        return [sys.executable, "-m", "dployr", "up", "--data-dir", str(self.data), *addresses, *more]

    def start(self) -> None:
        before = self.text().count("ready:")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self.text().count("ready:") > before or self.process.poll() is not None, 90, "readiness")
        assert self.process.poll() is None, self.text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def text(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def pids(self) -> list[int | None]:
        """Supervisor, control plane, agent."""
        places = (self.data / "agent", self.data / "control-plane", self.data / "agent")
        return [processes.find(module, place) for module, place in zip(MODULES, places, strict=True)]

    def down(self) -> str:
        command = [sys.executable, "-m", "dployr", "down", "--data-dir", str(self.data)]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def up(tmp_path: pathlib.Path):
    made = Up(tmp_path)
    yield made
    made.down()
    if made.process:
        made.process.wait(60)
    assert made.pids() == [None, None, None]


def refusal(up: Up, *more: str) -> str:
    done = subprocess.run(up.command(*more), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    return done.stderr


def test_the_stack_is_found_again_and_restarted_and_ended(up: Up) -> None:
    up.start()
    assert stat.S_IMODE(up.data.stat().st_mode) == (0o700 if os.geteuid() else 0o711)
    assert not [name.name for name in up.data.iterdir() if name.name != "up.lock" and name.stat().st_mode & 0o077]
    password = (up.data / "admin-password").read_text().strip()
    assert up.text().count(password) == 1
    assert f"another `dployr up` (pid {up.process.pid}) runs on" in refusal(up)

    supervisor, _, agent = up.pids()
    os.kill(agent, signal.SIGKILL)
    wait_until(lambda: up.pids()[2] not in {None, agent}, 20, "another agent")
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: up.pids()[0] not in {None, supervisor}, 20, "another supervisor")

    supervisor = up.pids()[0]
    assert up.stop(signal.SIGINT) == 0
    assert "applications, supervisor and nginx keep running" in up.text()
    assert up.pids() == [supervisor, None, None]

    up.start()
    assert up.text().count(password) == 1, "printed once only"
    left = up.pids()
    assert left[0] == supervisor
    up.stop(signal.SIGKILL)
    assert up.pids() == left, "a killed `up` leaves its daemons"
    up.start()
    now = up.pids()
    assert now[0] == supervisor
    assert set(now[1:]).isdisjoint(left[1:]), "the next one ends them first"

    assert "everything is ended" in up.down()
    assert up.process.wait(60) == 0
    assert up.pids() == [None, None, None]
    assert "nothing runs" in up.down()


def test_an_address_in_use_is_named_with_its_option(up: Up) -> None:
    with socket.create_server(("127.0.0.1", up.api)):
        assert f"cannot listen on 127.0.0.1:{up.api}: it is in use; give another --api" in refusal(up)
    with socket.create_server(("127.0.0.1", up.proxy)):
        assert "give another --proxy" in refusal(up)
    assert up.pids() == [None, None, None]


def test_settings_that_a_daemon_refuses_end_up_with_its_words(up: Up) -> None:
    assert "cannot read admin_password_file" in refusal(up, "--admin-password-file", str(up.data / "nowhere"))


def test_a_directory_that_cannot_be_made_is_named(up: Up, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    assert "give another --data-dir" in refusal(up, "--data-dir", str(tmp_path / "file" / "data"))


def test_the_ports_of_the_agents_are_chosen_once(tmp_path: pathlib.Path) -> None:
    directory = Directory(tmp_path / "data")
    directory.make()
    chosen = directory.ports()
    assert directory.ports() == chosen
    assert len(set(chosen)) == 2


def test_a_long_log_is_moved_aside(tmp_path: pathlib.Path) -> None:
    directory = Directory(tmp_path / "data")
    directory.make()
    with directory.open_log("agent") as log:
        log.truncate(11 << 20)
    directory.open_log("agent").close()
    assert (directory.logs / "agent.log").stat().st_size == 0
    assert (directory.logs / "agent.log.1").exists()


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with contextlib.closing(child.stdout):
        assert child.stdout.readline() == b"up\n"
        descriptor = processes.open_pidfd(child.pid)
        assert processes.end(descriptor, timeout=0.2)
        os.close(descriptor)
    assert child.wait() == -signal.SIGKILL
