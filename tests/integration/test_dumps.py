"""T10: what a daemon holds in memory is in no core dump, and no other process of its user reads it.

Everything here runs without capabilities, also for root, whose other processes may look into each other by them.
"""

import contextlib
import json
import os
import pathlib
import resource
import secrets
import shutil
import signal
import subprocess
import sys

import pytest

from node_agent.paths import Paths
from tests.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAIN = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
pytestmark = pytest.mark.skipif(bool(PLAIN) and shutil.which("setpriv") is None, reason="setpriv is not installed")
NOWHERE = "127.0.0.1:9"
SLEEPER = ("-c", "import signal; print(flush=True); signal.pause()")
# Prints what of a process can be read by the one that runs this.
LOOK = """
import json, os, sys
seen = []
for name in ("environ", "mem", "maps", "auxv", "cwd", "fd/0"):
    path = f"/proc/{sys.argv[1]}/{name}"
    try:
        os.readlink(path) if name in ("cwd", "fd/0") else os.close(os.open(path, os.O_RDONLY))
        seen.append(name)
    except PermissionError:
        pass
print(json.dumps(seen))
"""


@pytest.fixture
def cores_allowed():
    """What is started from here on may leave cores of any size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("this user may not leave cores at all")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@contextlib.contextmanager
def running(directory, *arguments, ready=lambda _process: True):
    """A Python program with a secret in its environment, in `directory`. Killed at the end of the block."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CANARY": secrets.token_hex(16)}
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [*PLAIN, sys.executable, *arguments], cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=log
        )
    try:
        wait_until(lambda: ready(process) or process.poll() is not None, what=f"{arguments}")
        assert process.poll() is None, (directory / "log").read_text()
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def a_control_plane(directory):
    arguments = ("run", "--data-dir", str(directory / "data"), "--api", "127.0.0.1:0", "--hub", "127.0.0.1:0")
    keys = directory / "data" / "control-plane.db.keys"
    (directory / "data").mkdir(mode=0o700)
    with running(
        directory, "-m", "control_plane", *arguments, "--enrol", "127.0.0.1:0", ready=lambda _: keys.exists()
    ) as process:
        yield process


@contextlib.contextmanager
def a_supervisor(directory):
    data = directory / "agent"
    socket = Paths(data).supervisor_socket
    with running(
        directory, "-m", "node_agent.supervisor", "--data-dir", str(data), ready=lambda _: socket.exists()
    ) as process:
        yield process


@contextlib.contextmanager
def an_agent(directory):
    data, token = directory / "agent", directory / "token"
    token.write_text(f"{secrets.token_hex(16)}.{secrets.token_hex(32)}")  # a bad one would end the agent
    token.chmod(0o600)
    where = ("--hub", NOWHERE, "--enrol", NOWHERE, "--proxy-listen", NOWHERE, "--join-token-file", str(token))
    with (
        a_supervisor(directory),
        running(
            directory, "-m", "node_agent", "run", "--data-dir", str(data), *where,
            ready=lambda _: Paths(data).journal.exists(),
        ) as process,
    ):  # fmt: skip
        yield process


@contextlib.contextmanager
def a_sleeper(directory):
    """A program like any other."""
    with running(directory, *SLEEPER, ready=lambda process: process.stdout.readline()) as process:
        yield process


DAEMONS = pytest.mark.parametrize("daemon", [a_control_plane, a_supervisor, an_agent], ids=lambda one: one.__name__)
CRASHES = pytest.mark.parametrize("crash", [signal.SIGABRT, signal.SIGSEGV], ids=lambda one: one.name)


def crashed(process, crash):
    """How it ended, in the kernel's word: CLD_KILLED, or CLD_DUMPED when there is a core, wherever that went."""
    process.send_signal(crash)
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended.si_status == crash
    return ended.si_code


def seen_by_another(process):
    done = subprocess.run(
        [*PLAIN, sys.executable, "-c", LOOK, str(process.pid)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@DAEMONS
@CRASHES
@pytest.mark.usefixtures("cores_allowed")
def test_a_daemon_that_crashes_leaves_no_core(tmp_path, daemon, crash):
    with daemon(tmp_path) as process:
        assert crashed(process, crash) == os.CLD_KILLED
        assert [file.name for file in tmp_path.iterdir() if "core" in file.name] == []


@DAEMONS
def test_no_other_process_of_the_user_looks_into_a_daemon(tmp_path, daemon):
    with daemon(tmp_path) as process:
        assert seen_by_another(process) == []


@pytest.mark.parametrize(("daemon", "core"), [(a_control_plane, 0), (an_agent, 1)])
@pytest.mark.usefixtures("cores_allowed")
def test_what_a_daemon_starts_for_itself_leaves_no_core_either(tmp_path, daemon, core):
    """git and installers know the tokens that they were given. 1 is the limit that a collector of cores heeds too."""
    with daemon(tmp_path) as process:
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (core, core)


def test_what_is_measured_is_so_elsewhere(tmp_path, cores_allowed):
    """The measure itself: of another program there is a core, with the secret in it, and one can look into it."""
    with a_sleeper(tmp_path) as process:
        assert seen_by_another(process) == ["environ", "mem", "maps", "auxv", "cwd", "fd/0"]
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (cores_allowed, cores_allowed)
        if not pathlib.Path("/proc/sys/kernel/core_pattern").read_text().startswith(("|", "/")):
            assert crashed(process, signal.SIGABRT) == os.CLD_DUMPED
