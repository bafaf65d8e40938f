"""Processes that hang while they serve, under the real supervisor: which get another life, and which are left alone."""

import dataclasses
import http.client

import pytest

from node_agent import clock
from node_agent.model import spec, status
from node_agent.reconciler import sockets
from node_agent.supervisor_client import SupervisorClient
from tests.integration.test_reconciler import Rig, a_wish
from tests.supervisor_host import SERVICE
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.unit.test_plan import a_release
from tests.waiting import wait_until_async

# It hangs, answers 500 or stops to listen when it is told to, and says in a file how often it was looked at.
APP = """
import http.server, os, threading
mood = ["well"]
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path != "/health":
            mood[0] = self.path[1:]
        else:
            with open(f"looks-{os.environ['PORT']}", "a") as looks:
                looks.write("x")
            if mood[0] == "hang":
                threading.Event().wait()
        self.send_response(500 if self.path == "/health" and mood[0] == "sick" else 200)
        self.end_headers()
        if mood[0] == "deaf":
            self.server.server_close()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
server.daemon_threads = True
try:
    server.serve_forever(0.05)
except (OSError, ValueError):
    threading.Event().wait()
"""
CHECK = spec.HealthCheck(kind="http", path="/health", interval_s=1.0, timeout_s=0.5, retries=2, start_period_s=30.0)


class JumpingClock(clock.SystemClock):
    """While it jumps, an hour passes between two looks at it."""

    def __init__(self) -> None:
        self.jumped_s = 0.0
        self.jumps = False

    def monotonic(self) -> float:
        self.jumped_s += 3600.0 if self.jumps else 0.0
        return super().monotonic() + self.jumped_s


class RealRig(Rig):
    """The rig over a real supervisor."""

    def __init__(self, host, client: SupervisorClient) -> None:
        super().__init__(host.paths.root)
        self.place, self.supervisor, self.clock = host, client, JumpingClock()

    async def serve(self, check: spec.HealthCheck = CHECK, **changes: object) -> status.ServiceReport:
        command = self.place.script("app.py", APP)
        release = dataclasses.replace(a_release(), run_cmd=command, health_check=check, commit="c" * 40, **changes)
        await self.reconciler.accept(a_wish(1, release, service_id=SERVICE))
        return await self.until(lambda r: r.live_release == 1 and r.health == "healthy", "the start", SERVICE)

    async def told(self, condition, what: str) -> status.ServiceReport:
        return await self.until(condition, what, SERVICE)

    def looks(self, port: int) -> int:
        file = self.place.tree / f"looks-{port}"
        return len(file.read_text()) if file.exists() else 0


@pytest.fixture
async def rig(host):
    host.start()
    client = SupervisorClient(host.paths)
    await client.connect(20)
    made = RealRig(host, client)
    await made.begin()
    yield made
    await made.end()
    await client.close()


def say(port: int, mood: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", f"/{mood}")
    connection.getresponse().read()
    connection.close()


def pids(report: status.ServiceReport) -> dict[str, int]:
    return {one.name: one.pid for one in report.processes}


@pytest.mark.parametrize(
    ("mood", "words"),
    [("hang", "no answer within 0.5 s twice"), ("sick", "GET /health answered 500 twice")],
)
async def test_a_process_that_fails_its_checks_gets_another_life_and_the_reports_say_why(rig, mood, words) -> None:
    first = await rig.serve()
    (process,) = first.processes
    say(process.port, mood)
    sick = await rig.told(lambda r: r.health == "unhealthy" and r.message, "the verdict")
    assert sick.message.startswith("web.1 is unhealthy: ")
    assert sick.message.endswith(words)
    well = await rig.told(lambda r: r.health == "healthy" and pids(r)["web.1"] != process.pid, "another life")
    (found,) = well.processes
    assert (found.restarts, found.crash.kind.value, well.message) == (1, "unhealthy", "")
    assert found.last_exit.endswith(words)
    await wait_until_async(lambda: rig.proxy.upstream("app.test").ports == (process.port,))


async def test_a_tcp_check_replaces_a_process_that_no_longer_listens(rig) -> None:
    first = await rig.serve(dataclasses.replace(CHECK, kind="tcp", retries=1))
    (process,) = first.processes
    say(process.port, "deaf")
    await rig.told(lambda r: r.health == "healthy" and pids(r)["web.1"] not in {0, process.pid}, "another life")


async def test_of_several_that_hang_one_is_replaced_at_a_time_and_gets_no_request_meanwhile(rig) -> None:
    first = await rig.serve(dataclasses.replace(CHECK, retries=1), replicas=2)
    for process in first.processes:
        say(process.port, "sick")
    former, seen = pids(first), set()

    def all_replaced(report: status.ServiceReport) -> bool:
        mine = pids(report)
        seen.add(sum(mine[name] != former[name] and not sockets.ports_of(mine[name]) for name in mine))
        return report.health == "healthy" and all(mine[name] != former[name] for name in mine)

    await rig.told(all_replaced, "the end of it")
    assert max(seen) <= 1
    assert [one.restarts for one in (await rig.report(SERVICE)).processes] == [1, 1]


async def test_an_agent_that_stood_still_learns_nothing_from_a_check_that_failed_meanwhile(rig) -> None:
    first = await rig.serve(dataclasses.replace(CHECK, retries=1))
    (process,) = first.processes
    rig.clock.jumps = True
    say(process.port, "hang")
    before = rig.looks(process.port)
    await wait_until_async(lambda: rig.looks(process.port) >= before + 3, what="more looks than retries")
    assert pids(await rig.report(SERVICE)) == {"web.1": process.pid}
    assert (await rig.report(SERVICE)).health == "healthy"
    rig.clock.jumps = False
    await rig.told(lambda r: pids(r)["web.1"] not in {0, process.pid}, "another life")
