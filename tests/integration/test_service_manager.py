"""What a service manager hears from the daemons, over a real socket."""

import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from control_plane import service_manager as of_control_plane
from node_agent import clock, service_manager
from node_agent.supervisor import notify
from node_agent.supervisor.loop import Loop
from tests.supervisor_host import REPOSITORY

BOTH = pytest.mark.parametrize("module", [service_manager, of_control_plane], ids=["host", "control plane"])


@pytest.fixture
def heard(tmp_path: pathlib.Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        yield manager


def environment(heard: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": heard.getsockname(), **more}


@BOTH
def test_each_state_is_one_datagram(module, heard: socket.socket) -> None:
    told = module.ServiceManager(environment(heard))
    told.ready()
    told.alive()
    told.stopping()
    assert [heard.recv(100) for _ in range(3)] == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


@BOTH
def test_an_abstract_address_is_understood(module) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel chooses an abstract name
        manager.settimeout(20)
        module.ServiceManager({"NOTIFY_SOCKET": "@" + manager.getsockname()[1:].decode()}).ready()
        assert manager.recv(100) == b"READY=1"


@BOTH
def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(module, tmp_path: pathlib.Path) -> None:
    module.ServiceManager({}).ready()
    module.ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


@BOTH
def test_the_address_is_not_left_for_children(module, heard: socket.socket) -> None:
    given = environment(heard, WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid()), KEPT="yes")
    module.ServiceManager(given)
    assert given == {"KEPT": "yes"}


@BOTH
@pytest.mark.parametrize(
    ("given", "ping_s"),
    [
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_it_is_pinged_at_half_the_limit_when_we_are_meant(module, given, ping_s: float, heard: socket.socket) -> None:
    assert module.ServiceManager(environment(heard, **given)).ping_s == ping_s
    assert module.ServiceManager(dict(given)).ping_s == 0.0


def test_the_two_copies_are_the_same_code() -> None:
    texts = [pathlib.Path(module.__file__).read_text() for module in (service_manager, of_control_plane)]
    assert len({text.partition("import contextlib")[2] for text in texts}) == 1


def test_the_supervisors_loop_says_ready_and_then_alive_again_and_again(heard: socket.socket) -> None:
    loop = Loop(clock.SystemClock())
    heard.setblocking(False)
    came: list[bytes] = []

    def read() -> None:
        came.append(heard.recv(100))
        if len(came) == 4:
            loop.stop()

    loop.watch(heard.fileno(), read)
    notify.begin(loop, service_manager.ServiceManager(environment(heard, WATCHDOG_USEC="20000")))
    loop.run()
    assert came == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"WATCHDOG=1"]


def test_a_supervisor_says_ready_when_it_listens_and_stopping_when_it_is_told_to_end(
    heard: socket.socket, tmp_path: pathlib.Path
) -> None:
    data = tmp_path / "data"
    argv = [sys.executable, "-m", "node_agent.supervisor", "--data-dir", str(data)]
    told = {**os.environ, **environment(heard)}
    with subprocess.Popen(argv, cwd=REPOSITORY, env=told, stderr=subprocess.DEVNULL) as supervisor:
        try:
            assert heard.recv(100) == b"READY=1"
            assert (data / "supervisor.sock").is_socket()
            supervisor.terminate()
            assert heard.recv(100) == b"STOPPING=1"
        finally:
            supervisor.kill()
