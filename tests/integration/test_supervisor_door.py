"""The socket: what strangers and broken peers can do to it, which is nothing."""

import os
import socket
import stat
import subprocess
import sys

import pytest

from node_agent.errors import SupervisorUnavailableError
from node_agent.model.process import ProcessId
from node_agent.supervisor import frames, protocol
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import REPOSITORY, a_process
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async


class Peer:
    """A client that says what it likes."""

    def __init__(self, host):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(20)
        wait_until(lambda: self.socket.connect_ex(str(host.paths.supervisor_socket)) == 0)
        self.frames = frames.FrameBuffer()
        self.pending = []

    def send(self, **frame):
        self.socket.sendall(frames.encode_frame(frame))

    def answer(self):
        while not self.pending:
            data = self.socket.recv(65536)
            if not data:
                return None
            self.pending += [frame for frame in self.frames.feed(data) if "event" not in frame]
        return self.pending.pop(0)


@pytest.fixture
def peer(host):
    host.start()
    found = Peer(host)
    yield found
    found.socket.close()


def test_only_its_owner_may_open_the_socket(host, peer):
    assert stat.S_IMODE(os.stat(host.paths.supervisor_socket).st_mode) == 0o660
    assert stat.S_IMODE(os.stat(host.paths.supervisor_lock).st_mode) == 0o600


def test_of_starts_that_come_together_each_has_its_own_answer(host, peer):
    ids = [ProcessId(f"svc_{number:026}", 1, 0, "web.1") for number in range(1, 4)]
    for found in ids:
        host.paths.release_tree(found.service_id, 1).mkdir(parents=True)
    bodies = [protocol.encode_process_spec(a_process(id=found)) for found in ids]
    asked = [{"id": number, "verb": "start", **body} for number, body in enumerate(bodies)]
    asked[1]["port"] = -1
    peer.socket.sendall(b"".join(map(frames.encode_frame, asked)))
    answers = sorted((peer.answer() for _ in asked), key=lambda found: found["id"])
    assert ["ok" in found for found in answers] == [True, False, True]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become somebody else")
def test_another_user_is_shown_the_door(host, peer):
    host.paths.supervisor_socket.chmod(0o666)
    code = (
        "import os, socket, sys\n"
        "s = socket.socket(socket.AF_UNIX); d = os.open(sys.argv[1], os.O_PATH); os.setuid(65534)\n"
        "os.fchdir(d); s.connect('supervisor.sock')\n"
        "try: sys.exit(len(s.recv(10)))\n"
        "except ConnectionError: sys.exit(0)\n"
    )
    root = host.paths.root
    parents = [root, *root.parents[:4]]
    modes = [os.stat(parent).st_mode for parent in parents]
    for parent in parents:
        parent.chmod(0o755)
    try:
        assert subprocess.run(["/usr/bin/python3", "-c", code, str(root)], check=False).returncode == 0
    finally:
        for parent, mode in zip(parents, modes, strict=True):
            parent.chmod(mode)
    assert "server.refused uid=65534" in host.output.read_text()


@pytest.mark.parametrize(
    "bytes_sent",
    [b"\xff\xff\xff\xff", b"\0\0\0\4nope", b"\0\0\0\2[]", b"\0\0\0\2{}", b'\0\0\0\x10{"id":"x","verb":1}'],
)
def test_a_peer_that_talks_nonsense_is_let_go_and_nobody_else_notices(host, peer, bytes_sent):
    other = Peer(host)
    other.socket.sendall(bytes_sent)
    other.socket.shutdown(socket.SHUT_WR)
    assert other.answer() is None
    other.socket.close()
    peer.send(id=1, verb="hello")
    assert peer.answer()["ok"]["pid"] == host.process.pid


@pytest.mark.parametrize(
    ("verb", "fields", "words"),
    [
        ("launch_missiles", {}, "no such verb"),
        ("start", {}, "process_id"),
        ("start", {"process_id": "../../etc.r1.n0.web.1"}, "process_id"),
        ("stop", {"process_id": "svc_" + "0" * 26 + ".r1.n0.../x", "grace_s": 1}, "process_id"),
        ("stop", {"process_id": str(a_process().id), "grace_s": -1}, "grace_s"),
        ("stop", {"process_id": str(a_process().id), "grace_s": float("nan")}, "grace_s"),
        ("start", {"process_id": "svc_" + "0" * 26 + ".r-1.n0.web.1"}, "process_id"),
        ("start", {"process_id": "svc_" + "0" * 26 + ".r99999999999.n0.web.1"}, "process_id"),
        ("run_job", {"service_id": "svc_" + "0" * 26, "release": "1"}, "release"),
        ("forget", {"service_id": ".."}, "service_id"),
        ("proxy_test", {"generation": "../.."}, "generation"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_the_field_named(peer, verb, fields, words):
    peer.send(id=7, verb=verb, **fields)
    answer = peer.answer()
    assert answer["id"] == 7
    assert words in answer["error"]
    peer.send(id=8, verb="processes")
    assert peer.answer() == {"id": 8, "ok": []}


def test_a_release_number_that_is_no_number_of_a_release_starts_nothing(host, peer):
    peer.send(id=1, verb="start", **{**protocol.encode_process_spec(a_process()), "toolchain": "../../bin"})
    assert peer.answer()["ok"]["last_exit"].startswith("start_failed: ")


def test_answers_come_when_they_are_ready_and_not_in_order(host, peer):
    peer.send(id=1, verb="start", **protocol.encode_process_spec(a_process(host.script("app.py", STUBBORN))))
    assert peer.answer()["id"] == 1
    wait_until((host.tree / "ready").exists)
    peer.send(id=2, verb="stop", process_id=str(a_process().id), grace_s=1.0)
    peer.send(id=3, verb="hello")
    assert peer.answer()["id"] == 3
    assert peer.answer() == {"id": 2, "ok": None}


STUBBORN = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nopen('ready', 'w').close()\ntime.sleep(1000)\n"


async def test_calls_in_flight_fail_when_the_supervisor_dies_and_the_client_comes_back(host):
    host.start()
    client = SupervisorClient(host.paths)
    heard = []
    client.subscribe(heard.append)
    await client.connect(20)
    started = await client.start(a_process())
    host.kill()

    async def unavailable():
        try:
            await client.hello()
        except SupervisorUnavailableError:
            return True
        return False

    await wait_until_async(unavailable)
    heard.clear()
    host.start()
    await wait_until_async(lambda: "" in heard, what="word of the reconnect")
    assert [found.pid for found in await client.processes()] == [started.pid]
    await client.close()


async def test_a_client_without_supervisor_says_what_to_do(host):
    client = SupervisorClient(host.paths)
    with pytest.raises(SupervisorUnavailableError, match="is dployr-supervisor running"):
        await client.connect(0.1)
    await client.close()


def test_the_shutdown_command_ends_the_supervisor_and_is_fine_without_one(host, peer):
    argv = [sys.executable, "-m", "node_agent.supervisor", "shutdown", "--data-dir", str(host.paths.root)]
    peer.send(id=1, verb="start", **protocol.encode_process_spec(a_process()))
    assert peer.answer()["ok"]["pid"]
    assert subprocess.run(argv, cwd=REPOSITORY, check=False).returncode == 0
    assert host.process.wait(20) == 0
    assert host.marked() == {}
    assert subprocess.run(argv, cwd=REPOSITORY, check=False, stderr=subprocess.DEVNULL).returncode == 0


def test_the_supervisor_goes_on_when_nobody_reads_its_standard_error(host):
    reader, writer = os.pipe()
    argv = [sys.executable, "-m", "node_agent.supervisor", "--data-dir", str(host.paths.root)]
    host.process = subprocess.Popen(argv, cwd=REPOSITORY, stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)
    peer = Peer(host)
    peer.send(id=1, verb="start", **protocol.encode_process_spec(a_process()))
    assert peer.answer()["ok"]["pid"]
    peer.socket.close()
