"""One-off commands with a real supervisor: environment, output as it comes, and every way to end."""

import asyncio
import dataclasses
import itertools
import os

import pytest

from node_agent import clock, errors
from node_agent.fakes.builder import FakeBuilder
from node_agent.fakes.proxy import FakeProxy
from node_agent.model.actions import Target
from node_agent.model.run import Ending, RunSpec
from node_agent.proxy.render import ProxySettings
from node_agent.proxy.requests import RequestCounts
from node_agent.reconciler import before
from node_agent.reconciler.host import Host
from node_agent.reconciler.owners import Owners
from node_agent.reconciler.runs import Runs
from node_agent.reconciler.sites import Sites
from node_agent.state.journal import Journal
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import Uploads
from tests.supervisor_host import SERVICE, reach
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.unit.test_plan import a_release
from tests.unit.test_plan import a_wish as a_plain_wish
from tests.waiting import wait_until_async

numbers = itertools.count()
ENV = (("GREETING", "hello"), ("KEY", "hush-hush"))


class World:
    def __init__(self, host, client, journal) -> None:
        self.host, self.client, self.journal = host, client, journal
        proxy = FakeProxy(host.paths, ProxySettings("127.0.0.1", 8081))
        builder = FakeBuilder()
        self.builder = builder
        parts = Host(
            journal, client, builder, Sites(proxy, journal), clock.SystemClock(), RequestCounts(), Owners(client)
        )
        self.runs = Runs(parts, host.paths, Uploads())
        self.written: list[tuple[str, bytes]] = []

    async def deploy(self) -> None:
        """Release 1 is live, as far as journal and builder say; its tree is the host's."""
        release = dataclasses.replace(a_release(1), env=ENV, secret_keys=("KEY",), commit="c" * 40)
        await self.journal.put_wish(dataclasses.replace(a_plain_wish(), service_id=SERVICE, release=release))
        await self.builder.build(SERVICE, release, lambda *_: None)
        await self.journal.put_live(SERVICE, Target(1, 0))

    async def write(self, stream: str, data: bytes) -> None:
        self.written.append((stream, data))

    def output(self, stream: str = "stdout") -> bytes:
        return b"".join(data for name, data in self.written if name == stream)

    def begin(self, command: str, timeout_s: float = 60.0) -> asyncio.Task[Ending]:
        wanted = RunSpec(f"run_{next(numbers):026d}", SERVICE, command, timeout_s)
        return asyncio.create_task(self.runs.run(wanted, self.write))

    def left_over(self) -> list[str]:
        pipes = os.listdir(self.host.paths.runs) if self.host.paths.runs.exists() else []
        return [*pipes, *self.host.marked()]


@pytest.fixture
async def world(host):
    host.start()
    client = SupervisorClient(host.paths)
    await client.connect(20)
    journal = await Journal.open(host.paths.journal)
    made = World(host, client, journal)
    await made.deploy()
    yield made
    await client.close()
    await journal.close()


async def test_a_command_has_the_environment_and_the_tree_of_the_live_release(world):
    (world.host.tree / "file").write_text("from the tree")
    command = 'echo "$GREETING $KEY $DPLOYR_RELEASE $DPLOYR_COMMIT"; cat file; echo oops >&2; exit 4'
    assert await world.begin(command) == Ending("exited", 4)
    assert world.output() == f"hello hush-hush 1 {'c' * 40}\nfrom the tree".encode()
    assert world.output("stderr") == b"oops\n"
    assert world.left_over() == []


async def test_output_comes_while_the_command_goes_on_and_cancelling_ends_the_tree(world):
    task = world.begin("printf 'no newline'; sleep 1000 & setsid sleep 1000")
    await wait_until_async(lambda: world.output() == b"no newline")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.left_over() == []


async def test_every_byte_comes_in_order_though_the_reader_is_slow(world):
    lines = b"".join(f"{number}\n".encode() for number in range(200_000))
    assert await world.begin("seq 0 199999") == Ending("exited", 0)
    assert world.output() == lines


async def test_a_reader_that_fails_ends_the_command(world):
    async def broken(stream: str, data: bytes) -> None:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        await world.runs.run(RunSpec("run_" + "9" * 26, SERVICE, "echo a; sleep 1000", 60.0), broken)
    assert world.left_over() == []


async def test_a_deadline_ends_the_command(world):
    assert (await world.begin("echo slow; sleep 1000", timeout_s=1.0)).outcome == "timeout"
    assert world.output() == b"slow\n"


async def test_a_signal_is_told(world):
    assert await world.begin("kill -9 $$") == Ending("signalled", 9)


async def test_a_command_that_cannot_start_says_why(world):
    (world.host.tree).rename(world.host.tree.with_name("gone"))
    ending = await world.begin("exit 0")
    assert ending.outcome == "start_failed"
    assert b"No such file" in world.output("stderr")


async def test_an_agent_that_dies_ends_its_commands(world):
    """The supervisor sees the connection go; nobody asks it to."""
    other = SupervisorClient(world.host.paths)
    await other.connect(20)
    world.runs._host = dataclasses.replace(world.runs._host, supervisor=other)
    task = world.begin("echo up; sleep 1000")
    await wait_until_async(lambda: world.output() == b"up\n")
    await other.close()
    with pytest.raises(errors.SupervisorUnavailableError):
        await task
    await wait_until_async(lambda: world.left_over() == [], what="the end of the command")


def with_command(command: str):
    return dataclasses.replace(a_release(1), env=ENV, processes=(("release", command),))


def build_log(world) -> list[str]:
    log = world.host.paths.log_file(SERVICE, "build", 1, "stdout")
    return log.read_text().splitlines() if log.exists() else []


async def test_a_release_command_runs_as_the_app_does_and_writes_into_the_build_log(world):
    (world.host.tree / "file").write_text("from the tree\n")
    artifact = await world.builder.sealed(SERVICE, 1)
    release = with_command('echo "$GREETING $KEY $DPLOYR_RELEASE"; cat file')
    await before.run(world.client, SERVICE, release, artifact)
    assert build_log(world) == ["hello hush-hush 1", "from the tree"]
    with pytest.raises(
        errors.ReleaseFailedError, match=r"`echo no; exit 7` exited with code 7; last lines: no; mend it"
    ):
        await before.run(world.client, SERVICE, with_command("echo no; exit 7"), artifact)
    assert world.left_over() == []


async def test_a_release_command_ends_with_the_agent(world):
    other = SupervisorClient(world.host.paths)
    await other.connect(20)
    artifact = await world.builder.sealed(SERVICE, 1)
    task = asyncio.create_task(before.run(other, SERVICE, with_command("echo up; sleep 1000"), artifact))
    await wait_until_async(lambda: build_log(world) == ["up"])
    await other.close()
    with pytest.raises(errors.SupervisorUnavailableError):
        await task
    await wait_until_async(lambda: world.left_over() == [], what="the end of the command")


async def test_a_supervisor_that_dies_ends_them_when_it_comes_back(world):
    task = world.begin("echo up; sleep 1000")
    await wait_until_async(lambda: world.output() == b"up\n")
    world.host.kill()
    with pytest.raises(errors.SupervisorUnavailableError):
        await task
    world.host.start()
    await reach(world.host, world.client)
    await wait_until_async(lambda: world.left_over() == [], what="the end of the command")


async def test_without_a_live_release_there_is_nothing_to_run_beside(world):
    await world.journal.settle(SERVICE)
    with pytest.raises(errors.NotRunnableError, match="deploy or start it first"):
        await world.begin("exit 0")


async def test_the_pipes_of_a_killed_agent_are_swept(world):
    world.host.paths.runs.mkdir()
    os.mkfifo(world.host.paths.run_pipe("run_" + "1" * 26, "stdout"))
    world.runs.sweep()
    assert world.left_over() == []
