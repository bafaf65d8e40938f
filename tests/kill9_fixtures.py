"""The control plane as a process that is killed, clients that remember what it acknowledged, and an oracle of its own.

The clients retry an unanswered request with the same idempotency key until it is answered, and only then go on; so each
knows exactly what must be there. The oracle reads a copy of the database file with nothing of ours: its own hash code, its
own idea of what is whole.
"""

import contextlib
import dataclasses
import hashlib
import http.client
import json
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import Any

from control_plane import store
from tests import builders
from tests.waiting import wait_until

ROOT = pathlib.Path(__file__).parents[1]
EMAIL, PASSWORD = "operator@example.test", "correct horse battery"
LISTENING = re.compile(r"api\.listening.*?port\D{0,10}(\d+)")
ENVIRONMENT = {
    "DPLOYR_RATE_LIMIT_USER": "100000000",
    "DPLOYR_RATE_LIMIT_ANONYMOUS": "100000000",
    "PATH": "/usr/bin:/bin",
}
AGAIN = frozenset({503})


class Daemon:
    """`dployr-control-plane` on a directory; `port` is that of the present process."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory, self.port, self.starts = directory, 0, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "log"
        (directory / "password").write_text(PASSWORD)

    @property
    def database(self) -> pathlib.Path:
        return self.directory / "data" / "control-plane.db"

    async def prepare(self) -> None:
        """An instance that nobody runs: what is deployed on it waits for ever."""
        opened = await store.open(self.database, builders.StillClock())
        async with opened.write() as tx:
            await tx.insert_instance(builders.an_instance(facts={"memory_bytes": 1 << 40}))
        await opened.close()

    def begin(self) -> None:
        self.starts += 1
        self._log = self.directory / f"log-{self.starts}"
        arguments = ["run", "--data-dir", str(self.directory / "data"), "--api", "127.0.0.1:0", "--hub", "127.0.0.1:0"]
        arguments += ["--enrol", "127.0.0.1:0", "--admin-email", EMAIL]
        arguments += ["--admin-password-file", str(self.directory / "password")]
        command = [sys.executable, "-m", "control_plane", *arguments]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=log, stderr=log)

    def start(self) -> None:
        self.begin()
        self.port = int(wait_until(self._listens, 60, "the control plane")[1])

    def kill(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(signal.SIGKILL)
            process.wait(20)

    def _listens(self) -> re.Match[str] | None:
        text = self._log.read_text(errors="replace")
        assert self._process is not None
        assert self._process.poll() is None, text
        return LISTENING.search(re.sub(r"\x1b\[[0-9;]*m", "", text))


class Gate:
    """Clients come by before each attempt. Closed, they wait here, and the test sees when all of them do."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._open = False
        self.waiting = 0

    def pass_through(self) -> None:
        with self._changed:
            self.waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._open)
            self.waiting -= 1

    def close(self, clients: int) -> None:
        """Return when all `clients` wait."""
        with self._changed:
            self._open = False
            assert self._changed.wait_for(lambda: self.waiting == clients, 60), "a client did not come to the gate"

    def open(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    replayed: bool


@dataclasses.dataclass
class Request:
    """One change. `about` is the object that it changes, or the name of what it makes; `event` what must have happened."""

    key: str
    method: str
    path: str
    body: Any
    kind: str
    about: str = ""
    answer: Answer | None = None
    event: tuple[str, str, int | None] | None = None  # type, subject, release


@dataclasses.dataclass
class Deployment:
    id: str
    service: str
    release: int
    branch: str = "b0"
    going: bool = False
    restarts: int = 0
    routes: set[str] = dataclasses.field(default_factory=set)


class Client:
    """One thread with a project of its own. `done` is its ledger, `pending` what was not answered yet."""

    def __init__(self, number: int, seed: str, daemon: Daemon, gate: Gate, token: str) -> None:
        self.number, self._daemon, self._gate, self._token = number, daemon, gate, token
        self._chance = random.Random(f"{seed}/{number}")
        self._count = 0
        self.projects: dict[str, str] = {}  # id → description
        self.deployments: dict[str, Deployment] = {}
        self.done: list[Request] = []
        self.refused: list[Request] = []
        self.pending: Request | None = None
        self.fault = ""
        self.stop, self.give_up = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"client-{number}")

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(60)

    def _run(self) -> None:
        try:
            while not self.stop.is_set():
                self.pending = self._choose()
                answer = self._until_answered(self.pending)
                self._take(self.pending, answer)
                self.pending = None
                if self.done and self._chance.random() < 0.15:
                    self.replay(self._chance.choice(self.done))
        except Exception as error:
            self.fault = f"client {self.number}: {type(error).__name__}: {error} (pending {self.pending})"

    def _until_answered(self, request: Request) -> Answer:
        while not self.give_up.is_set():
            self._gate.pass_through()
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self._ask(request)
                if answer.status not in AGAIN and not _still_runs(answer):
                    return answer
                threading.Event().wait(0.01)
        raise AssertionError("the trial was given up")

    def _ask(self, request: Request, body: Any = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": request.key}
        headers |= {"X-Request-Id": request.key, "Connection": "close"}
        with contextlib.closing(connection):
            said = request.body if body is None else body
            headers |= {} if said is None else {"Content-Type": "application/json"}
            connection.request(request.method, request.path, None if said is None else json.dumps(said), headers)
            response = connection.getresponse()
            text = response.read()
            replayed = response.getheader("Idempotency-Replayed") == "true"
            return Answer(response.status, json.loads(text) if text else None, replayed)

    def replay(self, request: Request) -> None:
        """The same request gets the same answer and nothing happens; another one under its key is refused."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            again = self._ask(request)
            if again.status not in AGAIN:
                assert request.answer is not None
                assert again == dataclasses.replace(request.answer, replayed=True), f"{request.key}: {again}"
            if request.kind in {"deploy", "update", "project", "describe"}:
                other = self._ask(request, {**request.body, "description": "other"})
                assert other.status in {422, *AGAIN}, f"{request.key} with another body: {other}"

    def _request(self, kind: str, method: str, path: str, body: Any = None, about: str = "") -> Request:
        self._count += 1
        return Request(f"k9-{self.number}-{self._count}", method, path, body, kind, about)

    def _name(self) -> str:
        return f"n{self.number}-{self._count + 1}"

    def _choose(self) -> Request:
        living = [one for one in self.deployments.values() if not one.going]
        if not self.projects:
            return self._make_project()
        kinds = ["deploy"] if len(living) < 2 else []
        kinds += [
            "deploy",
            "project",
            "describe",
            *(["update", "redeploy", "restart", "route", "same", "taken"] * bool(living)),
        ]
        kinds += [*(["update", "unroute", "delete"] * bool(living))]
        return getattr(self, f"_make_{self._chance.choice(kinds)}")()

    def _some(self) -> Deployment:
        return self._chance.choice([one for one in self.deployments.values() if not one.going])

    def _make_project(self) -> Request:
        name = self._name()
        return self._request("project", "POST", "/v1/projects", {"name": name, "description": "new"}, name)

    def _make_describe(self) -> Request:
        project = self._chance.choice(list(self.projects))
        body = {"description": f"said {self._count}"}
        return self._request("describe", "PATCH", f"/v1/projects/{project}", body, project)

    def _make_deploy(self) -> Request:
        body = {
            "name": self._name(), "project": self._chance.choice(list(self.projects)), "runtime": "nodejs", "version": "20",
            "remote": "https://git.example.com/team/app", "run_cmd": "npm start", "port": 3000, "branch": "b0",
        }  # fmt: skip
        return self._request("deploy", "POST", "/v1/deployments", body, body["name"])

    def _make_update(self) -> Request:
        one = self._some()
        body = {"branch": f"b{self._count + 1}"}
        return self._request("update", "PUT", f"/v1/deployments/{one.id}", body, one.id)

    def _make_same(self) -> Request:
        """Nothing changes, so nothing may be written."""
        one = self._some()
        return self._request("same", "PUT", f"/v1/deployments/{one.id}", {"branch": one.branch}, one.id)

    def _make_taken(self) -> Request:
        """A domain that is taken: refused, also when it is asked again."""
        one = self._some()
        if not one.routes:
            return self._make_route()
        body = {
            "domain": f"{self.number}-{one.service[-6:].lower()}.example.com",
            "service_id": one.service,
            "port": 3000,
        }
        return self._request("taken", "POST", "/v1/proxy/routes", body, one.id)

    def _make_redeploy(self) -> Request:
        one = self._some()
        return self._request("redeploy", "POST", f"/v1/deployments/{one.id}/redeploy", None, one.id)

    def _make_restart(self) -> Request:
        one = self._some()
        return self._request("restart", "POST", f"/v1/services/{one.service}/restart", None, one.id)

    def _make_route(self) -> Request:
        one = self._some()
        label = one.service[-6:].lower() if not one.routes else f"r{self._count}"
        body = {"domain": f"{self.number}-{label}.example.com", "service_id": one.service, "port": 3000}
        return self._request("route", "POST", "/v1/proxy/routes", body, one.id)

    def _make_unroute(self) -> Request:
        one = self._some()
        if len(one.routes) < 2:
            return self._make_route()
        route = sorted(one.routes)[-1]
        return self._request("unroute", "DELETE", f"/v1/proxy/routes/{route}", None, one.id)

    def _make_delete(self) -> Request:
        one = self._some()
        return self._request("delete", "DELETE", f"/v1/deployments/{one.id}", None, one.id)

    def _take(self, request: Request, answer: Answer) -> None:
        """Into the ledger, after it was held against what is known."""
        good = {
            "project": 201,
            "deploy": 201,
            "route": 201,
            "unroute": 204,
            "update": 200,
            "describe": 200,
            "same": 200,
        }
        wanted = good.get(request.kind, 409 if request.kind == "taken" else 202)
        assert answer.status == wanted, f"{request.kind} {request.path} {request.body}: {answer}"
        request.answer = answer
        if request.kind == "taken":
            self.refused.append(request)
            return
        getattr(self, f"_took_{request.kind}")(request, answer.body)
        self.done.append(request)

    def _took_project(self, request: Request, body: Any) -> None:
        self.projects[body["id"]] = "new"

    def _took_describe(self, request: Request, body: Any) -> None:
        self.projects[request.about] = body["description"]

    def _took_deploy(self, request: Request, body: Any) -> None:
        self.deployments[body["id"]] = Deployment(body["id"], body["service_id"], 1)
        request.event = ("deployment.created", body["id"], None)

    def _took_update(self, request: Request, body: Any) -> None:
        self._next_release(request, body)
        self.deployments[request.about].branch = request.body["branch"]
        request.event = ("deployment.updated", request.about, body["release"])

    def _took_redeploy(self, request: Request, body: Any) -> None:
        self._next_release(request, body)

    def _next_release(self, request: Request, body: Any) -> None:
        one = self.deployments[request.about]
        assert body["release"] == one.release + 1, f"{request}: release {one.release} was followed by {body['release']}"
        one.release += 1

    def _took_same(self, request: Request, body: Any) -> None:
        assert body["release"] == self.deployments[request.about].release, f"{request} made a release"

    def _took_restart(self, request: Request, body: Any) -> None:
        self.deployments[request.about].restarts += 1

    def _took_route(self, request: Request, body: Any) -> None:
        self.deployments[request.about].routes.add(body["id"])
        request.event = ("route.created", body["id"], None)

    def _took_unroute(self, request: Request, body: Any) -> None:
        route = request.path.rpartition("/")[2]
        self.deployments[request.about].routes.discard(route)
        request.event = ("route.deleted", route, None)

    def _took_delete(self, request: Request, body: Any) -> None:
        one = self.deployments[request.about]
        one.going, one.routes = True, set()


class Oracle:
    """Looks at a copy of the file of a daemon that is dead. It remembers what it has seen: nothing of it may go."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._chain: list[str] = []
        self._events: dict[int, str] = {}
        self.kept = 0

    def check(self, clients: list[Client]) -> list[str]:
        """Everything that is wrong, in words."""
        with self._copied() as connection:
            self._tables = {
                name: [dict(row) for row in connection.execute(f"SELECT * FROM {name}")]
                for name in (
                    "audit",
                    "events",
                    "deployments",
                    "services",
                    "releases",
                    "routes",
                    "projects",
                    "members",
                    "answers",
                )
            }
            faults = [str(dict(row)) for row in connection.execute("PRAGMA foreign_key_check")]
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
        faults += [] if whole == "ok" else [whole]
        faults += [*self._chain_faults(), *self._event_faults(), *self._whole_faults()]
        for client in clients:
            faults += [*self._ledger_faults(client), *self._model_faults(client), *self._pending_faults(client)]
        return faults

    @contextlib.contextmanager
    def _copied(self):
        source, copy = self._daemon.database, self._daemon.directory / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for file in source.parent.glob(f"{source.name}*"):
            if file.name in {source.name, f"{source.name}-wal"}:
                shutil.copy(file, copy / file.name)
        with contextlib.closing(sqlite3.connect(copy / source.name)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection

    def _chain_faults(self):
        previous, hashes = "0" * 64, []
        for place, row in enumerate(sorted(self._tables["audit"], key=lambda row: row["sequence"]), 1):
            said = {**row, "data": json.loads(row["data"])}
            del said["hash"]
            text = json.dumps(said, sort_keys=True, separators=(",", ":"))
            if (row["sequence"], row["previous"]) != (place, previous):
                yield f"audit entry {row['sequence']} does not follow entry {place - 1}"
            if hashlib.sha256(text.encode()).hexdigest() != row["hash"]:
                yield f"audit entry {row['sequence']} has a hash that is not its own"
            previous = row["hash"]
            hashes.append(previous)
        if hashes[: len(self._chain)] != self._chain:
            yield f"the audit lost what it had: {len(self._chain)} entries then, {len(hashes)} now"
        self._chain = hashes

    def _event_faults(self):
        found = {row["sequence"]: row["id"] for row in self._tables["events"]}
        last = max(self._events, default=0)
        if {number: one for number, one in found.items() if number <= last} != self._events:
            yield f"the events up to {last} are other ones than before"
        self._events = found

    def _whole_faults(self):
        """A deployment has one service and all its releases; nothing stands alone."""
        services = {row["deployment_id"]: row for row in self._tables["services"]}
        for row in self._tables["deployments"]:
            numbers = sorted(one["number"] for one in self._tables["releases"] if one["deployment_id"] == row["id"])
            if numbers != list(range(1, row["release"] + 1)):
                yield f"deployment {row['name']} at release {row['release']} has the releases {numbers}"
            if services.get(row["id"], {}).get("id") != row["service_id"]:
                yield f"deployment {row['name']} has no service {row['service_id']}"
        if len(services) != len(self._tables["deployments"]):
            yield "there is a service without a deployment"
        owned = {row["project_id"] for row in self._tables["members"] if row["role"] == "owner"}
        yield from (
            f"project {row['name']} has no owner"
            for row in self._tables["projects"]
            if row["id"] not in owned and row["name"] != "default"
        )

    def _ledger_faults(self, client: Client):
        """Each acknowledged change is written down once, with its event once and its answer; a refused one nowhere."""
        written = _counted(row["request_id"] for row in self._tables["audit"])
        kept = _counted(row["key"] for row in self._tables["answers"])
        events = [
            (row["type"], row["subject"], json.loads(row["data"]).get("release")) for row in self._tables["events"]
        ]
        happened = _counted(event if event[0] == "deployment.updated" else (*event[:2], None) for event in events)
        for request in client.done:
            wanted = 0 if request.kind == "same" else 1
            if written.get(request.key, 0) != wanted:
                yield f"{request.kind} {request.key} stands {written.get(request.key, 0)} times in the audit"
            if kept.get(request.key, 0) != 1:
                yield f"the answer to {request.key} is not kept"
            if request.event is not None and happened.get(request.event, 0) != 1:
                yield f"{request.event} happened {happened.get(request.event, 0)} times"
        yield from (f"{one.key} was refused and is in the audit" for one in client.refused if one.key in written)
        self.kept = len(kept)

    def _model_faults(self, client: Client):
        """What was acknowledged last is what is there, but for the object of a request that is not answered yet."""
        busy = client.pending.about if client.pending else ""
        rows = {
            name: {row["id"]: row for row in self._tables[name]} for name in ("deployments", "services", "projects")
        }
        for project, description in client.projects.items():
            if project != busy and rows["projects"].get(project, {}).get("description") != description:
                yield f"project {project} is {rows['projects'].get(project)}, not {description!r}"
        for one in client.deployments.values():
            deployment, service = rows["deployments"].get(one.id), rows["services"].get(one.service)
            if deployment is None or service is None:
                yield f"deployment {one.id} was acknowledged and is not there"
            elif one.id != busy:
                yield from _differences(one, deployment, service, self._tables["routes"])

    def _pending_faults(self, client: Client):
        """What is not answered yet is there whole, or not at all."""
        pending = client.pending
        if pending is None or pending.kind in {"same", "taken"}:
            return
        kept = sum(row["key"] == pending.key for row in self._tables["answers"])
        written = sum(row["request_id"] == pending.key for row in self._tables["audit"])
        if kept != written:
            yield f"{pending.kind} {pending.key} is half there: {written} in the audit, {kept} answers"
        if pending.kind in {"deploy", "project"}:
            table = "deployments" if pending.kind == "deploy" else "projects"
            made = sum(row["name"] == pending.about for row in self._tables[table])
            if made != kept:
                yield f"{pending.kind} {pending.key} is half there: {made} made, {kept} answers"


def _differences(one: Deployment, deployment: dict, service: dict, routes: list[dict]):
    found = {row["id"] for row in routes if row["service_id"] == one.service}
    pairs = {
        "branch": (one.branch, json.loads(deployment["config"])["branch"]),
        "release": (one.release, deployment["release"]),
        "going": (one.going, service["run"] == "removed"),
        "restarts": (one.restarts, service["restart"]),
        "routes": (one.routes, found),
    }
    yield from (f"{one.id}: {name} is {is_}, not {was}" for name, (was, is_) in pairs.items() if was != is_)


def _still_runs(answer: Answer) -> bool:
    """The first request with this key is not ended yet, or was not when the connection broke."""
    return answer.status == 409 and "idempotency_key" in answer.body["error"]["details"]


def _counted(things) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for thing in things:
        found[thing] = found.get(thing, 0) + 1
    return found
