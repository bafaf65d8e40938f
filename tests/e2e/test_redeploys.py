"""A service is deployed again and again under a steady load, every fourth time with something that cannot work: no
request on a new connection fails, the release that is said to be live answers, and nothing of what went is left.

REDEPLOYS_SEED replays the choices; TEST_ALL=1 deploys 100 times.
"""

import os
import pathlib
import random
import secrets
import statistics
import time

import pytest

from tests.e2e.platform import Load, Platform, Repository
from tests.e2e.test_ledger import gone, left
from tests.oracle import processes
from tests.waiting import wait_until

COUNT = 100 if os.environ.get("TEST_ALL") else 8
LOOKS = 25  # on new connections, one after the other, within which the release that the API calls live must answer
DESCRIPTORS = 16  # more than before: what is pooled or kept for a while
pytestmark = pytest.mark.timeout(60 + 15 * COUNT)

BUILD = """
set -e
test "$(cat mode)" != build || { echo broken on purpose; exit 3; }
test "$(cat mode)" != link || ln -s /etc/passwd outside
"""
APP = """
import http.server, os, sys, time

mode, port = open("mode").read().strip(), int(os.environ["PORT"])
words = f"{os.environ['DPLOYR_RELEASE']} {open('words').read().strip()} {os.environ.get('MOOD', '')}".encode()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if mode == "hangs":
            time.sleep(1000)
        if mode == "dies":
            os._exit(1)
        self.send_response(500 if mode == "errors" else 200)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words)

    def log_message(self, *words):
        pass

if mode == "exits":
    sys.exit("broken on purpose")
if mode == "silent":
    time.sleep(1000)
if mode == "elsewhere":
    port = 0
if mode == "detached" and os.fork():
    time.sleep(1000)
if mode == "detached":
    os.setsid()
    time.sleep(1000)
http.server.ThreadingHTTPServer.request_queue_size = 256
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.daemon_threads = True
server.serve_forever()
"""
FIELDS = {"runtime": "python", "build_cmd": "sh build.sh", "run_cmd": "exec python3 app.py"}
OTHERWISE = "$PORT ("  # it listens nowhere, or elsewhere: other platforms on this machine have apps with the same user
BROKEN = {
    "build": "exited with code 3",
    "link": "leads out of the source",
    "exits": "its last lines: broken on purpose",
    "silent": OTHERWISE,
    "errors": "answered 500",
    "elsewhere": OTHERWISE,
    "hangs": "no answer within",
    "dies": "",  # it ends when it is asked: how that looks depends on who asks next
    "detached": OTHERWISE,
}
BUILT_BADLY = ("build", "link")  # and never started
SOUND = ("commit", "variable", "rollback")
PATIENT = {"path": "/", "start_period": 60, "timeout": 5}
HASTY = {"path": "/", "start_period": 2, "timeout": 0.5}


@pytest.fixture
def chance() -> random.Random:
    seed = os.environ.get("REDEPLOYS_SEED") or secrets.token_hex(4)
    print(f"REDEPLOYS_SEED={seed}")
    return random.Random(seed)


def choices(chance: random.Random) -> list[str]:
    """One in four of those that are broken, none twice before all were there once."""
    rounds = [chance.sample(sorted(BROKEN), len(BROKEN)) for _ in range(COUNT)]
    broken = [one for each in rounds for one in each][: COUNT // 4]
    sound = [chance.choice(SOUND) for _ in range(COUNT - len(broken))]
    return chance.sample([*broken, *sound], COUNT)


class Service:
    """One deployment, and what it has been through."""

    def __init__(self, platform: Platform, repository: Repository, chance: random.Random) -> None:
        self.platform, self.repository, self.chance = platform, repository, chance
        self.name = f"again-{secrets.token_hex(3)}"
        repository.commit(app__py=APP, build__sh=BUILD, mode="sound", words="w1")
        found, self.domain = platform.live(self.name, repository, health_check=PATIENT, **FIELDS)
        self.id, self.number = found["service_id"], 1
        self.words = {1: ("w1", "")}  # those of each release that was live
        self.answering = 1
        self.took: list[float] = []

    def deploy(self, choice: str) -> None:
        """And see that it came as it had to."""
        self.number += 1
        if choice in BROKEN:
            self._broken(choice)
        else:
            self._sound(choice)
        assert {self.answer() for _ in range(5)} == {self.expected()}, choice

    def _broken(self, choice: str) -> None:
        self.repository.commit(mode=choice, words=f"w{self.number}", number=str(self.number))
        self._put(health_check=HASTY)
        found = self.platform.settled(self.name, self.number)
        assert found["status"] == "failed", (choice, found)
        started = (OTHERWISE,) if choice not in BUILT_BADLY else ()
        assert any(words in found["status_reason"] for words in (BROKEN[choice], *started)), (choice, found)

    def _sound(self, choice: str) -> None:
        words, mood = self.words[self.answering]
        if choice == "rollback" and self._kept():
            number = self.chance.choice(self._kept())
            words, mood = self.words[number]
            self._call("POST", "/rollback", {"release": number})
        else:
            words, mood = (words, f"m{self.number}") if choice == "variable" else (f"w{self.number}", mood)
            self.repository.commit(mode="sound", words=words, number=str(self.number))
            self._put(health_check=PATIENT, env={"MOOD": mood})
        found = self.platform.settled(self.name, self.number)
        assert found["status"] == "running", (choice, found)
        self.words[self.number], self.answering = (words, mood), self.number
        begun = time.monotonic()
        looks = next((look for look in range(1, LOOKS + 1) if self.answer() == self.expected()), None)
        assert looks is not None, f"{choice}: release {self.number} is live and {self.answer()} answers"
        self.took.append(time.monotonic() - begun)

    def _kept(self) -> list[int]:
        """Releases to go back to: one that was pruned is built again."""
        return sorted(set(self.words) - {self.answering})[-5:]

    def _put(self, **fields: object) -> None:
        """Always a change, and to be built."""
        self._call("PUT", "", {**fields, "build_cmd": f"sh build.sh {self.number}"})

    def _call(self, method: str, path: str, body: dict) -> None:
        self.platform.call(method, f"/v1/deployments/{self.name}{path}", body)

    def answer(self) -> tuple[int, str]:
        return self.platform.get(self.domain)

    def expected(self) -> tuple[int, str]:
        return 200, f"{self.answering} {' '.join(self.words[self.answering])}"


def test_deployments_under_load_lose_no_request_and_leave_nothing(
    platform: Platform, repository: Repository, chance: random.Random
) -> None:
    service = Service(platform, repository, chance)
    before = descriptors(platform)
    with Load(platform, service.domain) as load:
        for choice in choices(chance):
            service.deploy(choice)
    print(f"{len(load.answers)} requests; live → answers: median {statistics.median(service.took):.3f} s,", end=" ")
    print(f"at most {max(service.took):.3f} s")
    assert load.failed == []
    assert never_back(load.answers, service) == []

    wait_until(lambda: only_what_serves(platform, service), 60, "the end of all but what serves")
    assert {name: count for name, count in descriptors(platform).items() if count > before[name] + DESCRIPTORS} == {}
    routes = [route["id"] for route in platform.call("GET", f"/v1/proxy/routes?domain={service.domain}")["data"]]
    platform.call("DELETE", f"/v1/deployments/{service.name}")
    wait_until(lambda: gone(platform, service.name), 60, "the end of the deployment")
    wait_until(lambda: left(platform, [service.id, *routes]) == {}, 30, "nothing of it to be left")
    assert running(platform, service) == []
    assert processes.groups((service.id,)) == []
    assert mounts(platform, service) == []


def never_back(answers: list[tuple[int, str]], service: Service) -> list[str]:
    """Answers of releases that never were live, or other words than those of their release."""
    wanted = {f"{number} {' '.join(words)}" for number, words in service.words.items()}
    return sorted({body for _, body in answers} - wanted)


def only_what_serves(platform: Platform, service: Service) -> bool:
    """One process, its port and its control groups, and no more than the releases to go back to."""
    mine = running(platform, service)
    markers = {one.marker for one in mine}
    place = platform.data / "agent" / "services" / service.id
    found = left(platform, [service.id])
    return (
        len(mine) == len(markers) == len(found["ports"]) == 1
        and all(group.name.endswith(tuple(markers)) for group in processes.groups((service.id,)))
        and names(place / "builds") == []
        and len(names(place / "releases")) <= 7
        and not [name for name in names(place / "releases") if not name.isdigit()]
        and names(platform.data / "agent" / "trash") == []
    )


def names(directory: pathlib.Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir()) if directory.exists() else []


def running(platform: Platform, service: Service) -> list[processes.Running]:
    return [one for one in processes.of(platform.data / "agent") if one.service == service.id]


def mounts(platform: Platform, service: Service) -> list[str]:
    """As the supervisor sees them."""
    (supervisor,) = platform.processes_of("node_agent.supervisor")
    lines = pathlib.Path(f"/proc/{supervisor}/mountinfo").read_text().splitlines()
    return [line for line in lines if service.id in line]


def descriptors(platform: Platform) -> dict[str, int]:
    """Open in each of the daemons."""
    daemons = ("node_agent.supervisor", "node_agent", "control_plane")
    return {name: sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in platform.processes_of(name)) for name in daemons}
