"""The managed nginx under the supervisor: test, start, reload, restart, adoption, end."""

import os
import pathlib
import re
import resource
import signal
import socket
import subprocess
import sys

import pytest

from node_agent import atomic, dumps
from node_agent.errors import SupervisorRefusedError
from node_agent.supervisor.nginx import find_nginx
from node_agent.supervisor_client import SupervisorClient
from tests.supervisor_host import REPOSITORY
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

pytestmark = pytest.mark.skipif(not find_nginx(""), reason="nginx is not installed")

CONF = """
daemon off; worker_processes 2; pid {own}/nginx.pid; error_log {log};
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {own}/t1; proxy_temp_path {own}/t2; fastcgi_temp_path {own}/t3;
  uwsgi_temp_path {own}/t4; scgi_temp_path {own}/t5;
  server {{ listen unix:{socket}; return 200 "generation {number}"; }}
}}
"""


@pytest.fixture
def proxy_socket(host):
    return host.paths.nginx / "s"


@pytest.fixture
def generation(host, proxy_socket):
    """Write a whole configuration and make it the current one."""

    def write(number, text=CONF):
        proxy = host.paths.proxy
        places = {"own": host.paths.nginx, "log": host.paths.nginx_log}
        directory = proxy / "generations" / str(number)
        directory.mkdir(parents=True)
        (directory / "nginx.conf").write_text(text.format(**places, socket=proxy_socket, number=number))
        atomic.symlink(f"generations/{number}", proxy / "current")

    return write


def answer(path):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        try:
            peer.connect(str(path))
            peer.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return peer.recv(65536).decode().rpartition("\r\n\r\n")[2]
        except OSError:
            return ""


def master(host):
    pids = host.marked().get("proxy", [])
    return pids[0] if pids else 0


async def test_the_check_tells_a_good_generation_from_a_bad_one_in_nginx_words(client, generation):
    generation(1)
    good, words = await client.proxy_test(1)
    assert good
    assert "test is successful" in words
    generation(2, CONF + "nonsense on;")
    good, words = await client.proxy_test(2)
    assert not good
    assert 'unknown directive "nonsense"' in words


async def test_a_generation_that_does_not_exist_fails_its_check(client, generation):
    generation(1)
    good, words = await client.proxy_test(7)
    assert not good
    assert "generations/7" in words


async def test_ensure_starts_nginx_once_and_reload_makes_the_next_generation_answer(client, generation, proxy_socket):
    generation(1)
    assert await client.proxy_ensure() is True
    await wait_until_async(lambda: answer(proxy_socket) == "generation 1")
    assert await client.proxy_ensure() is False
    generation(2)
    assert (await client.proxy_test(2))[0]
    await client.proxy_reload()
    await wait_until_async(lambda: answer(proxy_socket) == "generation 2")


async def test_nginx_leaves_no_core_with_the_keys_of_certificates(host, client, generation, proxy_socket):
    generation(1)
    await client.proxy_ensure()
    await wait_until_async(lambda: answer(proxy_socket))
    tree = host.snapshot().tree("proxy", master(host))
    assert len(tree) > 1
    limits = [pathlib.Path(f"/proc/{member.pid}/limits").read_text() for member in tree]
    most = dumps.CORE if resource.getrlimit(resource.RLIMIT_CORE)[1] else 0
    # One that dropped to its user before we came to it keeps what it inherited: none.
    assert all(re.search(rf"^Max core file size +({most}|0) +({most}|0) ", text, re.MULTILINE) for text in limits)


async def test_a_killed_master_is_replaced_and_its_workers_are_ended(host, client, generation, proxy_socket):
    generation(1)
    await client.proxy_ensure()
    await wait_until_async(lambda: answer(proxy_socket))
    former = host.snapshot().tree("proxy", master(host))
    os.kill(master(host), signal.SIGKILL)
    await wait_until_async(lambda: master(host) not in {0, former[0].pid} and answer(proxy_socket) == "generation 1")
    for member in former:
        assert host.snapshot().members.get(member.pid) != member


async def test_nginx_outlives_the_supervisor_and_is_taken_over(host, client, generation, proxy_socket):
    generation(1)
    await client.proxy_ensure()
    await wait_until_async(lambda: answer(proxy_socket))
    pid = master(host)
    host.kill()
    assert answer(proxy_socket) == "generation 1"
    host.start()
    again = SupervisorClient(host.paths)
    await again.connect(20)
    assert await again.proxy_ensure() is False
    assert master(host) == pid
    generation(2)
    await again.proxy_reload()
    await wait_until_async(lambda: answer(proxy_socket) == "generation 2")
    await again.close()


async def test_a_master_that_died_while_nobody_looked_is_replaced(host, client, generation, proxy_socket):
    generation(1)
    await client.proxy_ensure()
    await wait_until_async(lambda: answer(proxy_socket))
    pid = master(host)
    workers = [m.pid for m in host.snapshot().tree("proxy", pid) if m.pid != pid]
    assert len(workers) == 2
    host.kill()
    os.kill(pid, signal.SIGKILL)
    host.start()
    wait_until(lambda: master(host) not in {0, pid} and answer(proxy_socket))
    wait_until(lambda: not set(workers) & set(host.snapshot().members))


async def test_shutdown_ends_nginx_and_nothing_brings_it_back(host, client, generation, proxy_socket):
    generation(1)
    await client.proxy_ensure()
    await wait_until_async(lambda: answer(proxy_socket))
    await client.shutdown()
    assert host.process.wait(20) == 0
    assert master(host) == 0
    assert answer(proxy_socket) == ""
    host.start()
    wait_until(host.paths.supervisor_socket.exists)
    fresh = SupervisorClient(host.paths)
    await fresh.connect(20)
    with pytest.raises(SupervisorRefusedError, match="does not run"):
        await fresh.proxy_reload()
    await fresh.close()


async def test_without_nginx_the_refusal_names_the_package(host):
    host.start("--nginx", "/nonexistent/nginx")
    client = SupervisorClient(host.paths)
    await client.connect(20)
    with pytest.raises(SupervisorRefusedError, match="install the package nginx"):
        await client.proxy_ensure()
    await client.close()


def test_help_names_the_data_directory():
    argv = [sys.executable, "-m", "node_agent.supervisor", "--help"]
    assert "--data-dir" in subprocess.run(argv, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout
