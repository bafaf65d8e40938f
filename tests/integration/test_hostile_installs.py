"""A package whose install script looks for what is not its own (T17), run by the real npm in the real build of a release.

It tries to read the environment, memory and files of others, to talk to us, and to call metadata services and applications.
"""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator

import pytest

from node_agent.model.process import FIRST_PORT, LAST_PORT, JobKind, ProcessId
from node_agent.model.spec import Runtime
from node_agent.supervisor import cages
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import SERVICE, Bench
from tests.integration.test_isolation_probes import BUILD, NEIGHBOUR, PROBES, PYTHON, SECRET, seal
from tests.supervisor_host import SupervisorHost, a_job, a_process
from tests.supervisor_host import open_host as open_host  # noqa: PLC0414 - the fixture `host`
from tests.waiting import wait_until_async

OF_THE_HOST = "of-the-operator-alone"
FILES = {"server.js": "require('http').createServer((q, r) => r.end('x')).listen(process.env.PORT);"}
CALL = "socket.socket(socket.{}, socket.SOCK_{}).{}"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access(PYTHON, os.X_OK), reason="needs root, and a Python that every user can run"
)


@contextlib.asynccontextmanager
async def connected(host: SupervisorHost, *options: str) -> AsyncIterator[SupervisorClient]:
    host.start(*options)
    client = SupervisorClient(host.paths)
    await client.connect(30.0)
    yield client
    await client.close()


def connect(address: str, port: int) -> str:
    family = "AF_INET6" if ":" in address else "AF_INET"
    return CALL.format(family, "STREAM", f"connect(({address!r}, {port}))")


def send(address: str, port: int) -> str:
    family = "AF_INET6" if ":" in address else "AF_INET"
    return CALL.format(family, "DGRAM", f"sendto(b'x', ({address!r}, {port}))")


@contextlib.contextmanager
def listening(ports: range | tuple[int, ...]) -> Iterator[int]:
    """A port of these at which this test answers, at every address."""
    with socket.socket(socket.AF_INET6) as found:
        found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for port in ports:
            try:
                found.bind(("::", port))
            except OSError:
                continue
            found.listen(100)
            yield found.getsockname()[1]
            return
    raise AssertionError("no port is free")


def packed(probes: list[str]) -> bytes:
    """A package of npm whose preinstall tries the probes and leaves what came of them, and its environment, in the build."""
    manifest = {
        "name": "evil",
        "version": "1.0.0",
        "scripts": {
            "preinstall": f'{PYTHON} probes "$(cat words)" > "$INIT_CWD/came-of-it" && env -0 > "$INIT_CWD/env"'
        },
    }
    files = {"package.json": json.dumps(manifest), "probes": PROBES, "words": json.dumps(probes), "index.js": ""}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()


async def start_neighbour(host: SupervisorHost, client: SupervisorClient) -> int:
    await seal(host, client, NEIGHBOUR, secret=SECRET)
    command = f"echo {SECRET} > $HOME/secret; touch $HOME/ready; exec sleep 1000"
    spec = a_process(command, id=ProcessId(NEIGHBOUR, 1, 0, "web.1"), env=(("TOKEN", SECRET),))
    pid = (await client.start(spec)).pid
    await wait_until_async((host.paths.home(NEIGHBOUR) / "ready").exists)
    return pid


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
async def test_an_install_script_reads_and_reaches_nothing_that_is_not_its_own(host, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPERATORS_KEY", OF_THE_HOST)
    paths = host.paths
    async with connected(host) as client:
        pid = await start_neighbour(host, client)
        enforced = dict((await client.hello()).capabilities)
        (tmp_path / "bench").mkdir()
        bench = Bench(tmp_path / "bench", supervisor=client, paths=paths)
        paths.identity.mkdir(mode=0o700, exist_ok=True)
        (paths.identity / "key.pem").write_text(SECRET)
        paths.journal.touch(0o600)
        whose = (pid, host.process.pid, os.getpid())  # a neighbour, the supervisor, and in the place of the agent we
        refused = {
            **{f"use('/proc/{who}/{name}')": "EACCES" for who in whose for name in ("environ", "mem")},
            **{f"os.kill({who}, 0)": "EPERM" for who in whose},
            f"use({str(paths.home(NEIGHBOUR) / 'secret')!r})": "EACCES",
            f"use({str(paths.release_tree(NEIGHBOUR, 1) / 'secret')!r})": "EACCES",
            **{f"os.listdir({str(place)!r})": "EACCES" for place in (paths.home(SERVICE), paths.releases(SERVICE))},
            **{f"os.listdir({str(place)!r})": "EACCES" for place in (paths.cache, paths.identity, paths.records)},
            f"use({str(paths.identity / 'key.pem')!r})": "EACCES",
            f"use({str(paths.journal)!r})": "EACCES",
            f"socket.socket(socket.AF_UNIX).connect({str(paths.supervisor_socket)!r})": "EACCES",
            "os.setuid(0)": "EPERM",
        }
        if not enforced["build_calls"].startswith("none"):
            refused[connect("169.254.169.254", 80)] = "EPERM"
            refused[connect("127.0.0.1", FIRST_PORT)] = "EPERM"
        bench.repository.write({**FILES, "package.json": json.dumps({"dependencies": {"evil": "file:evil.tgz"}})})
        (bench.repository.place / "evil.tgz").write_bytes(packed(list(refused)))
        bench.repository.write({})
        release = bench.release(
            runtime=Runtime.NODEJS, env=(("DATABASE_PASSWORD", SECRET),), secret_keys=("DATABASE_PASSWORD",)
        )
        await bench.build(release)
        assert json.loads((bench.tree() / "came-of-it").read_text()) == refused
        environment = (bench.tree() / "env").read_bytes()
        for word in (SECRET, OF_THE_HOST, "DATABASE_PASSWORD", "OPERATORS_KEY", "TOKEN"):
            assert word.encode() not in environment
        assert (
            bench.tree() / "came-of-it"
        ).stat().st_uid != BUILD  # sealed: nothing of what it made is its own any more
        await client.stop(ProcessId(NEIGHBOUR, 1, 0, "web.1"), 0.0)


METADATA = (
    "169.254.169.254",
    "169.254.170.2",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "fe80::a9fe:a9fe",
)
MORE_METADATA = ("192.0.0.192", "fd00:ec2::254", "64:ff9b::a9fe:a9fe")
HERE = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::ffff:127.0.0.1")


@pytest.mark.parametrize("rung", ["v2", "v1", "none"])
async def test_a_build_calls_no_metadata_service_and_no_application_and_what_else_it_needs(host, rung) -> None:
    async with connected(host, "--rung", rung) as client:
        enforced = dict((await client.hello()).capabilities)
        if enforced["build_calls"].startswith("none"):
            pytest.skip(f"this host cannot refuse calls: {enforced['build_calls']}")
        own = [] if (address := own_address()) is None else [address]
        with listening(range(LAST_PORT, FIRST_PORT, -1)) as app, listening((0,)) as other:
            wanted = {
                **{connect(address, 80): "EPERM" for address in (*METADATA, *MORE_METADATA)},
                **{send(address, 80): "EPERM" for address in (*METADATA, *MORE_METADATA)},
                **{connect(address, app): "EPERM" for address in (*HERE, *own)},
                **{connect(address, other): "done" for address in HERE},
                send("127.0.0.1", 53): "done",
            }
            (host.build_tree / "probes").write_text(PROBES)
            (host.build_tree / "words").write_text(json.dumps(list(wanted)))
            await client.run_job(a_job("", kind=JobKind.OPEN))
            await client.run_job(a_job(f'{PYTHON} probes "$(cat words)"'))
        raw = host.paths.log_file(a_job("").service_id, "build", 1, "stdout")
        assert json.loads(raw.read_text()) == wanted
    assert left_of_builds(host) == []


def own_address() -> str | None:
    """One of this machine beside loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


def left_of_builds(host: SupervisorHost) -> list[str]:
    """The group that a build without a cage of v2 is in."""
    found = subprocess.run(["find", "/sys/fs/cgroup", "-name", "*-builds"], capture_output=True, text=True, check=False)
    return [line for line in found.stdout.splitlines() if cage_name(host) in line]


def cage_name(host: SupervisorHost) -> str:
    return cages.group_name(host.paths.root)
