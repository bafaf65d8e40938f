"""The three daemons as processes, each armed to die at a failpoint and started again as a service manager would; and the
changes (`WAYS`) during which they die.
"""

import collections
import contextlib
import dataclasses
import http.client
import http.server
import io
import json
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from typing import Any

import failpoints
from dployr.stack import up
from dployr.stack.addresses import Address
from dployr.stack.directory import Directory
from failpoints import table
from tests.e2e.platform import EMAIL, FINAL, ROOT, Platform, Refused, Repository
from tests.oracle import host, logs
from tests.waiting import wait_until

PATIENCE_S = 120
PAUSE_S = 0.15  # a look at the host costs more than most
DAEMONS = (table.SUPERVISOR, table.CONTROL_PLANE, table.AGENT)
# Answers with its words and its release; writes numbered lines, as tests/oracle/logs.py wants them.
APP = """
import http.server, os, sys, threading, time

words = open("words").read()
if "broken" in words:
    sys.exit(1)
life, number = f"{os.getpid()}-{time.monotonic_ns()}", 0
counted = os.path.join(os.environ.get("DPLOYR_VOLUME_DATA", os.environ["HOME"]), "counted")
os.makedirs(counted, exist_ok=True)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{words} {os.environ['DPLOYR_RELEASE']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
with open(os.path.join(counted, life), "w") as file:
    while True:
        number += 1
        os.write(1 + (number % 5 == 0), b"%s %d %d\\n" % (life.encode(), number, time.monotonic_ns()))
        os.pwrite(file.fileno(), b"%012d" % number, 0)
        time.sleep(0.05)
"""
PLAIN = {"runtime": "python", "build_cmd": "date +%s%N > built", "run_cmd": "python main.py"}
CHECK = {"interval": "50ms", "retries": 1}
CANARY = {"kind": "canary", "weight": 50, "interval": 1}
# Of the service on which a way is made, where that is one of its own. What is counted is kept by the volume when there is one.
FIELDS: dict[str, dict[str, Any]] = {
    table.BUILT: {"volumes": [{"name": "data", "mount": "data"}]},
    table.CANARY: {"strategy": CANARY},
    table.TURNS: {"strategy": "recreate"},
    table.UPLOAD: {"source": "local"},
}
MIGRATES = 'release: echo $DPLOYR_RELEASE >> "$HOME/migrated"\n'


class Hook:
    """Receives webhooks; `seen` are their ids in order, with what each says."""

    def __init__(self) -> None:
        seen: list[tuple[str, dict[str, Any]]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                seen.append((self.headers["webhook-id"], json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.seen = seen
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Stack(Platform):
    """`deaths` are the daemons that ended by themselves since the last `arm`, and how. `next` is what a daemon is armed with
    that is started again: a start is the dearest step of all. `at_death` is called before that.
    """

    def __init__(self, directory: pathlib.Path, begun: dict[str, str]) -> None:
        super().__init__(directory)
        self.agent_data = self.data / "agent"
        self.deaths: list[tuple[str, int]] = []
        self.hook = Hook()
        self.at_death: Callable[[str], None] = lambda _: None
        self.next = dict(begun)
        self._armed: dict[str, str] = {}
        self._parts: dict[str, subprocess.Popen[bytes]] = {}
        made = Directory(self.data)
        made.make()
        settings = up.Settings(
            self.data,
            Address("127.0.0.1", self.api),
            Address("127.0.0.1", self.proxy),
            EMAIL,
            self._password_file,
            True,
        )
        hub, enrol = made.ports()
        programs = up.programs(settings, made, f"127.0.0.1:{hub}", f"127.0.0.1:{enrol}", self._password_file)
        self._commands = {program.name: program.command() for program in programs}

    def start(self) -> None:
        for name in DAEMONS:
            self._start(name, self.next[name])
        wait_until(self._is_up, PATIENCE_S, f"readiness ({self.directory})", PAUSE_S)
        self.login()
        self.call("POST", "/v1/webhooks", {"url": self.hook.url, "events": ["deployment.*"]})

    def _is_up(self) -> bool:
        self.keep()
        return self.ready()

    def down(self) -> None:
        """Again it does nothing."""
        for name in (table.AGENT, table.CONTROL_PLANE):
            if name in self._parts:
                self._end(name)
        super().down()
        if table.SUPERVISOR in self._parts:
            self._parts.pop(table.SUPERVISOR).wait(30)
            self.hook.close()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What fails in the block shows the last lines of the daemons."""
        try:
            yield
        except BaseException:
            for name in DAEMONS:
                last = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-40:]
                print(f"-- {name} (deaths: {self.deaths})", *last, sep="\n")
            raise

    def verify_audit(self) -> None:
        command = [
            sys.executable,
            "-m",
            "control_plane",
            "audit",
            "verify",
            "--data-dir",
            str(self.data / table.CONTROL_PLANE),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr

    def _gate(self, name: str) -> pathlib.Path:
        return self.directory / f"gate-{name}"

    def _start(self, name: str, point: str = "") -> None:
        self._gate(name).unlink(missing_ok=True)
        self._armed[name] = point
        environment = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin:" + str(pathlib.Path(sys.executable).parent),
            "DPLOYR_RATE_LIMIT_USER": "1000000",
            "DPLOYR_RATE_LIMIT_ANONYMOUS": "1000000",
            "DPLOYR_WEBHOOK_ALLOW": "127.0.0.0/8",
            failpoints.MODE: "1",
            failpoints.POINTS: point,
            failpoints.FROM: str(self._gate(name)),
        }
        with (self.directory / f"{name}.log").open("ab") as log:
            self._parts[name] = subprocess.Popen(
                self._commands[name], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _end(self, name: str) -> None:
        part = self._parts.pop(name)
        part.terminate()
        part.wait(60)

    def keep(self) -> None:
        """Start what is gone."""
        for name, part in tuple(self._parts.items()):
            if part.poll() is not None:
                self.deaths.append((name, part.returncode))
                self.at_death(name)
                self._start(name, self.next.get(name, ""))

    def arm(self, name: str, point: str) -> None:
        """See that the daemon runs, to die at the point once `open_gate` was called."""
        connections = self._connections()
        if self._armed[name] != point:
            self._end(name)
            self._start(name, point)
            if name == table.SUPERVISOR:
                wait_until(lambda: host.answers(self.agent_data), PATIENCE_S, "the supervisor")
            else:
                wait_until(lambda: self._connections() > connections, PATIENCE_S, "the agent's connection", PAUSE_S)
        wait_until(self.ready, PATIENCE_S, "readiness", PAUSE_S)
        self.deaths.clear()

    def open_gate(self, name: str) -> None:
        self._gate(name).touch()

    def _connections(self) -> int:
        return (self.directory / "agent.log").read_bytes().count(b"session.connected")

    def insist(self, method: str, path: str, body: Any = None, kind: str = "") -> Any:
        """One change, asked for under one key until it is answered."""
        headers = {"Idempotency-Key": secrets.token_hex(8)} | ({"Content-Type": kind} if kind else {})

        def answered() -> tuple[Any] | None:
            self.keep()
            try:
                return (self.call(method, path, body, dict(headers)),)
            except (OSError, http.client.HTTPException):
                return None
            except Refused as refused:
                if refused.status == 503 or "idempotency_key" in str(refused.body):
                    return None
                raise

        return wait_until(answered, PATIENCE_S, f"an answer to {method} {path}", PAUSE_S)[0]

    def found(self, path: str) -> Any:
        """None while the control plane is away, and for what is not there."""
        with contextlib.suppress(OSError, http.client.HTTPException, Refused):
            return self.call("GET", path)
        return None


class Watch:
    """Asks a domain all the time; every answer."""

    def __init__(self, stack: Stack, domain: str) -> None:
        self._stack, self._domain = stack, domain
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: set[tuple[int, str]] = set()
        self.count = 0

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.04):
            try:
                self.answers.add(self._stack.get(self._domain))
            except (OSError, http.client.HTTPException) as error:
                self.answers.add((0, repr(error)))
            self.count += 1


@dataclasses.dataclass
class App:
    """One service of the stack, live since it was made. `words` are those of each release."""

    stack: Stack
    name: str
    fields: dict[str, Any]
    number: int = 0
    live: int = 0
    service_id: str = ""
    domain: str = ""
    words: dict[int, str] = dataclasses.field(default_factory=dict)
    released: set[int] = dataclasses.field(default_factory=set)

    def begin(self) -> None:
        self.repository = Repository(self.stack.directory / "repositories" / self.name)
        self.commit()
        self.declare()
        self.settle("running")

    def declare(self) -> None:
        uploads = self.fields.get("source") == "local"
        source = {} if uploads else {"source": "remote", "remote": self.repository.as_uri(), "branch": "main"}
        wanted = {
            "name": self.name,
            "port": 3000,
            "poll": False,
            "health_check": CHECK,
            **PLAIN,
            **source,
            **self.fields,
        }
        made = self.stack.insist("POST", "/v1/deployments", wanted)
        self.service_id = made["service_id"]
        if uploads:
            self.upload()
        self.domain = self.stack.route(self.name, self.service_id)

    def commit(self, text: str = "") -> None:
        """The source of the next release."""
        self.number += 1
        self.words[self.number] = text or f"words-{self.number}"
        files = {"Procfile": MIGRATES} if self.name == table.PREPARED else {}
        self.repository.commit(main__py=APP, words=self.words[self.number], **files)

    def push(self, dead: str) -> None:
        """The branch moves while an agent is dead: the release is of it unless its commit was in the journal."""
        if dead == table.AGENT:
            if not host.commit_of(self.stack.agent_data, self.service_id, self.number):
                self.words[self.number] += "-pushed"
            self.repository.commit(words=f"words-{self.number}-pushed")

    def redeploy(self) -> None:
        self.stack.insist("POST", f"/v1/deployments/{self.name}/redeploy")

    def upload(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name in ("main.py", "words"):
                tar.add(self.repository.path / name, name)
        self.stack.insist("POST", f"/v1/deployments/{self.name}/source", packed.getvalue(), "application/gzip")

    def settle(self, outcome: str) -> None:
        """Wait for the end of the newest release, and for the host to be at rest."""

        def look() -> Any:
            self.stack.keep()
            assert host.doubled(self.stack.agent_data) == []
            found = self.stack.found(f"/v1/deployments/{self.name}")
            return found if found and found["release"] == self.number and found["status"] in FINAL else None

        found = wait_until(look, PATIENCE_S, f"the end of release {self.number} of {self.name}", PAUSE_S)
        assert found["status"] == outcome, found
        assert outcome in {"running", "stopped"} or found["status_reason"], found
        if outcome == "stopped":
            self.live = 0
        if outcome == "running":
            self.live = self.number
            self.released.add(self.live)

    def says(self) -> tuple[int, str]:
        return 200, f"{self.words[self.live]} {self.live}"

    def migrations(self) -> dict[str, int]:
        """How often the release command of each release was run."""
        file = self._place / "home" / "migrated"
        return collections.Counter(file.read_text().split()) if file.exists() else {}

    def judge_log(self) -> list[str]:
        """What speaks against the log of a service at rest."""
        builds = sum(len(file.read_bytes().splitlines()) for file in (self._place / "logs").glob("build.*"))
        return logs.judge(self._place / "logs", self._kept / "counted", builds, alone=False).problems

    @property
    def _kept(self) -> pathlib.Path:
        return self._place / ("volumes/data" if "volumes" in self.fields else "home")

    @property
    def _place(self) -> pathlib.Path:
        return self.stack.agent_data / "services" / self.service_id


Change = Callable[[], None]


@dataclasses.dataclass
class Way:
    """A change that is ready to be made: `make` it while the daemon is armed. `end` is what it ends in. `at_death` is to
    happen while the daemon is dead.
    """

    app: App
    make: Change
    end: str = "running"
    tidy: Change = lambda: None
    at_death: Callable[[str], None] = lambda _: None

    def run(self) -> None:
        """Without any death."""
        self.make()
        self.app.settle(self.end)


class Ways:
    """Prepares each kind of change, on a service of its own where it needs one."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.apps: dict[str, App] = {}

    def prepare(self, way: str) -> Way:
        special: dict[str, Callable[[], Way]] = {
            table.BACK: self._back,
            table.UPLOAD: self._upload,
            table.UNHEALTHY: self._unhealthy,
            table.CANCEL: self._cancel,
            table.TOOLCHAIN: self._toolchain,
            table.PRUNED: self._prune,
            table.FIRST: self._first,
            table.STOP: self._stop,
            table.DELETE: self._delete,
        }
        return special.get(way, lambda: self._deploy(way))()

    def serving(self) -> dict[str, int]:
        return {app.service_id: app.live for app in self.apps.values() if app.live}

    def stopped(self) -> set[str]:
        return {app.service_id for app in self.apps.values() if not app.live}

    def app(self, name: str) -> App:
        if name not in self.apps:
            app = App(self.stack, name, FIELDS.get(name, {}))
            app.begin()
            self.apps[name] = app
            wait_until(lambda: self.stack.in_force(app.domain), PATIENCE_S, f"the route of {app.domain}")
            wait_until(lambda: self.stack.get(app.domain) == app.says(), PATIENCE_S, f"the answer of {app.domain}")
        return self.apps[name]

    def _deploy(self, way: str) -> Way:
        app = self.app(way)
        app.commit()
        return Way(app, app.redeploy, at_death=app.push)

    def _back(self) -> Way:
        app = self.app(table.BUILT)
        if app.live == 1:  # there is nothing to go back to yet
            self._deploy(table.BUILT).run()
        target, app.number = app.live - 1, app.number + 1
        app.words[app.number] = app.words[target]
        return Way(app, lambda: self.stack.insist("POST", f"/v1/deployments/{app.name}/rollback", {"release": target}))

    def _upload(self) -> Way:
        app = self.app(table.UPLOAD)
        app.commit()
        return Way(app, app.upload)

    def _unhealthy(self) -> Way:
        app = self.app(table.UNHEALTHY)
        app.commit(f"broken-{app.number + 1}")
        return Way(app, app.redeploy, "failed")

    def _cancel(self) -> Way:
        app = self.app(table.CANCEL)
        app.commit()
        self.stack.insist("PUT", f"/v1/deployments/{app.name}", {"build_cmd": f"echo begun; sleep {1000 + app.number}"})
        log = f"/v1/deployments/{app.name}/releases/{app.number}/logs?tail=100"
        begun = lambda: any(line["line"] == "begun" for line in (self.stack.found(log) or {"data": []})["data"])  # noqa: E731
        wait_until(begun, PATIENCE_S, "the build")
        return Way(app, lambda: self.stack.insist("POST", f"/v1/deployments/{app.name}/cancel"), "cancelled")

    def _prune(self) -> Way:
        """There is a build more than are kept."""
        while self.app(table.BUILT).number < host.KEPT_RELEASES:
            self._deploy(table.BUILT).run()
        return self._deploy(table.BUILT)

    def _toolchain(self) -> Way:
        """What runs has its interpreter; the next build finds none provided."""
        way = self._deploy(table.BUILT)
        for place in (self.stack.agent_data / "toolchains").glob("python-*"):
            shutil.rmtree(place)
        return way

    def _first(self) -> Way:
        app = App(self.stack, f"first-{secrets.token_hex(4)}", {})
        app.repository = Repository(self.stack.directory / "repositories" / app.name)
        app.commit()

        def make() -> None:
            app.declare()
            self.apps[app.name] = app

        return Way(app, make, tidy=lambda: self._remove(app))

    def _stop(self) -> Way:
        """What tidies up starts it again, and sees it serve."""
        app = self.app(table.STOP)

        def start() -> None:
            self.stack.insist("POST", f"/v1/services/{app.name}/start")
            app.settle("running")
            wait_until(lambda: self.stack.get(app.domain) == app.says(), PATIENCE_S, f"the answer of {app.domain}")

        return Way(app, lambda: self.stack.insist("POST", f"/v1/services/{app.name}/stop"), "stopped", start)

    def _delete(self) -> Way:
        app = self.app(f"gone-{secrets.token_hex(4)}")
        return Way(app, lambda: self._remove(app), "gone")

    def _remove(self, app: App) -> None:
        self.stack.insist("DELETE", f"/v1/deployments/{app.name}")
        self.apps.pop(app.name, None)

        def gone() -> bool:
            self.stack.keep()
            try:
                self.stack.call("GET", f"/v1/deployments/{app.name}")
            except Refused as refused:
                return refused.status == 404
            except (OSError, http.client.HTTPException):
                return False
            return False

        wait_until(gone, PATIENCE_S, f"the end of {app.name}", PAUSE_S)


@contextlib.contextmanager
def a_stack(directory: pathlib.Path, begun: dict[str, str]) -> Iterator[Stack]:
    directory.chmod(0o711)  # apps have users of their own, who must be able to pass
    stack = Stack(directory, begun)
    try:
        stack.start()
        yield stack
    finally:
        stack.down()


def killed(name: str) -> list[tuple[str, int]]:
    return [(name, -signal.SIGKILL)]
