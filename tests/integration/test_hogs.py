"""Programs that take all they can get of processor, descriptors and small files (T23): held where their limit is, while the
supervisor answers and a neighbour works.
"""

import pathlib
import socket

import pytest

from node_agent.model.process import Limits, ProcessId
from node_agent.supervisor import cages
from tests.proxy_fixtures import free_port
from tests.supervisor_host import SERVICE, a_process
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

ASKED = 100
BURNER = "import os\nfor _ in range(3): os.fork()\nwhile True: pass\n"
OPENER = """
import os, time
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(len(held) + 3, error.errno, flush=True)
time.sleep(1000)
"""
FILER = """
import os, pathlib
place = pathlib.Path(os.environ["HOME"], "many")
place.mkdir()
for number in range(20000):
    (place / str(number)).touch()
print("made", flush=True)
while True:
    for number in range(20000):
        (place / str(number)).unlink()
        (place / str(number)).touch()
"""
ECHO = """
import os, socket
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
while True:
    connection, _ = server.accept()
    with connection:
        connection.sendall(connection.recv(100))
"""


@pytest.fixture
async def neighbour(host, client):
    """Where it answers; it runs on unharmed to the end of the test."""
    wanted = a_process(host.script("echo.py", ECHO), id=ProcessId(SERVICE, 1, 7, "web.1"), port=free_port())
    before = await client.start(wanted)
    wait_until(lambda: echoed(wanted.port))
    yield wanted.port
    found = {each.id: each for each in await client.processes()}[wanted.id]
    assert (found.pid, found.restarts) == (before.pid, 0)
    await client.stop(wanted.id, 0.0)


def echoed(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(b"there?")
            return connection.recv(100) == b"there?"
    except ConnectionRefusedError:
        return False


async def all_answer(client, port: int) -> None:
    """The supervisor, and the neighbour, again and again."""
    for _ in range(ASKED):
        assert (await client.hello()).pid
        assert echoed(port)


def said(host) -> str:
    file = host.paths.log_file(SERVICE, "web.1", 1, "stdout")
    return file.read_text() if file.exists() else ""


def throttled(host, name) -> int:
    """How often the kernel made the group wait."""
    files = pathlib.Path("/sys/fs/cgroup").glob(f"**/{cages.group_name(host.paths.root)}/{name}/cpu.stat")
    words = [line.split() for file in files for line in file.read_text().splitlines()]
    return max((int(value) for key, value in words if key == "nr_throttled"), default=0)


async def test_a_program_that_burns_all_processors_is_made_to_wait(host, client, neighbour):
    if "cpu" not in dict((await client.hello()).capabilities)["limits"].split(","):
        pytest.skip("this host cannot limit cpu by a control group")
    wanted = a_process(host.script("app.py", BURNER), limits=Limits(cpu=0.2))
    await client.start(wanted)
    await wait_until_async(lambda: throttled(host, wanted.id) >= 5, what="the kernel's hand")
    before = throttled(host, wanted.id)
    await all_answer(client, neighbour)
    await wait_until_async(lambda: throttled(host, wanted.id) > before)
    assert len(host.marked()[str(wanted.id)]) == 8
    await client.stop(wanted.id, 0.0)
    assert str(wanted.id) not in host.marked()


async def test_a_program_that_opens_all_files_it_can_ends_at_its_own_limit(host, client, neighbour):
    wanted = a_process(host.script("app.py", OPENER))
    await client.start(wanted)
    wait_until(lambda: said(host).endswith("\n"))
    opened, errno = map(int, said(host).split())
    assert (errno, opened <= 1 << 16) == (24, True)
    await all_answer(client, neighbour)
    another = a_process(id=ProcessId(SERVICE, 1, 1, "web.2"))
    assert (await client.start(another)).pid
    for each in (wanted, another):
        await client.stop(each.id, 0.0)


async def test_a_program_that_makes_very_many_files_disturbs_nobody_and_ends(host, client, neighbour):
    wanted = a_process(host.script("app.py", FILER))
    await client.start(wanted)
    wait_until(lambda: said(host) == "made\n", 60)
    await all_answer(client, neighbour)
    await client.stop(wanted.id, 0.0)
    assert str(wanted.id) not in host.marked()
