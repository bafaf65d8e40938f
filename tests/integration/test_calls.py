"""What keeps builds from calling what they may not, brought into force at a bad moment."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from node_agent.supervisor import calls

PESTER = "import os, sys\nwhile True: os.kill(int(sys.argv[1]), 10)\n"
TIMES = 100


@pytest.fixture
def pestered():
    """Gets a signal all the time, as who has very many children that end."""
    former = signal.signal(signal.SIGUSR1, lambda *_: None)
    other = subprocess.Popen([sys.executable, "-c", PESTER, str(os.getpid())])
    yield
    other.kill()
    other.wait()
    signal.signal(signal.SIGUSR1, former)


@pytest.mark.usefixtures("pestered")
def test_signals_do_not_keep_it_from_being_in_force(tmp_path: pathlib.Path) -> None:
    """The kernel refuses a program of who has a signal to take (EAGAIN), and with it a build failed."""
    found = calls.open_calls(tmp_path)
    if isinstance(found, calls.NoCalls):
        pytest.skip(f"this host refuses no calls: {found.words}")
    for _ in range(TIMES):
        found._make_group()
    found.tidy()
