"""A real HTTP server in this process for tests of the control plane's HTTP side."""

import asyncio
import contextlib
import dataclasses
import functools
import http.client
import json
import pathlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jwt

from control_plane import clock, notifier, ports
from control_plane.domain import values
from control_plane.fakes import archive_files
from control_plane.fakes import runs as fake_runs
from control_plane.fakes import store as fake_store
from control_plane.services import archives, instances, status
from control_plane.services import context as service_context
from control_plane.store import open_store
from control_plane.web import app, core, server
from tests import builders, contract_checker


class Loop:
    """An asyncio loop in a thread of its own, ended without leftovers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="test-loop")
        self._thread.start()
        self.core = core.Core(self.loop)

    def run(self, coro, timeout: float = 20.0):
        return asyncio.run_coroutine_threadsafe(coro, self.loop).result(timeout)

    def close(self) -> None:
        self.run(_cancel_others())
        self.run(self.loop.shutdown_asyncgens())
        self.run(self.loop.shutdown_default_executor())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@contextlib.contextmanager
def loop_thread() -> Iterator[Loop]:
    running = Loop()
    try:
        yield running
    finally:
        running.close()


# By port: what holds the answers of the apps that are served now against their contract.
CHECKERS: dict[int, contract_checker.Checker] = {}


@contextlib.contextmanager
def serving(loop: Loop, app: Any) -> Iterator[int]:
    """Serves `app` on a free loopback port; gives the port. Ends the server at the end of the block."""

    async def start() -> tuple[asyncio.Event, asyncio.Task, int]:
        stop, port = asyncio.Event(), loop.loop.create_future()
        task = asyncio.create_task(server.serve(app, "127.0.0.1", 0, stop, port.set_result))
        return stop, task, await port

    stop, task, port = loop.run(start())
    checker = contract_checker.of_app(app)
    if checker is not None:
        CHECKERS[port] = checker
    try:
        yield port
    finally:
        CHECKERS.pop(port, None)
        loop.loop.call_soon_threadsafe(stop.set)
        loop.run(_joined(task))


async def _joined(task: asyncio.Task) -> None:
    await task


class Answer:
    """Status, headers (names in lower case) and body of one response."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Response(http.client.HTTPResponse):
    """An answer whose lines are judged as they are read, when it is a stream of JSON."""

    judge: Callable[[bytes], None] | None = None

    def readline(self, limit: int = -1) -> bytes:
        line = super().readline(limit)
        if self.judge is not None and line.strip():
            self.judge(line)
        return line


class Connection(http.client.HTTPConnection):
    """One request, whose answer is held against the contract: its head, and its lines when it is a stream."""

    response_class = Response

    def request(self, method: str, url: str, *args: Any, **more: Any) -> None:
        self._asked = (method, url)
        super().request(method, url, *args, **more)

    def getresponse(self) -> Response:
        response = super().getresponse()
        checker = CHECKERS.get(self.port)
        if checker is not None:
            headers = {name.lower(): value for name, value in response.getheaders()}
            checker.check(*self._asked, response.status, headers, None)
            if headers.get("content-type") == "application/x-ndjson":
                response.judge = functools.partial(checker.check_line, self._asked[1], method=self._asked[0])
        return response


class Client:
    """One request per connection, over real sockets. Every answer is held against the contract of the app."""

    def __init__(self, port: int, token: str = "") -> None:
        self.port = port
        self.token = token

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        with contextlib.closing(self.open(method, path, body, headers)) as connection:
            response = connection.getresponse()
            answer = Answer(response, response.read())
        if self.port in CHECKERS:
            CHECKERS[self.port].check(method, path, answer.status, answer.headers, answer.body)
        return answer

    def open(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None):
        """The connection with the request sent, for reading a stream; the caller closes it."""
        connection = Connection("127.0.0.1", self.port, timeout=20)
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        connection.request(method, path, body, {**sent, **(headers or {})})
        return connection

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        return self.request("POST", path, body, headers)

    def put(self, path: str, body: Any = None) -> Answer:
        return self.request("PUT", path, body)

    def delete(self, path: str) -> Answer:
        return self.request("DELETE", path)


EMAIL = "operator@example.test"
PASSWORD = "correct horse battery"
NODE_APP = {
    "name": "my-app",
    "source": "remote",
    "runtime": "nodejs",
    "version": "20",
    "remote": "https://github.com/user/repo",
    "branch": "main",
    "build_cmd": "npm install",
    "run_cmd": "npm start",
    "port": 3000,
}


class ScriptedRelay:
    """A LogRelay that gives what the test wrote, and follows a queue of batches (an exception is raised, None ends)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.tail: list[values.LogLine] = []
        self.queues: list[asyncio.Queue] = []
        self.queries: list[values.LogQuery] = []
        self.closed = 0
        self.error: Exception | None = None
        self.ignores_tail = False

    async def read(self, instance_id: str, query: values.LogQuery):
        self.queries.append(query)
        if self.error is not None:
            raise self.error
        queue: asyncio.Queue = asyncio.Queue()
        self.queues.append(queue)
        try:
            behind = tuple(line for line in self.tail if line.seq > query.after_seq)
            yield behind if self.ignores_tail else behind[-query.tail :]
            while query.follow:
                batch = await queue.get()
                if batch is None:
                    return
                if isinstance(batch, Exception):
                    raise batch
                yield batch
        finally:
            self.closed += 1


def a_line(seq: int, text: str | bytes = "hello", **more: Any) -> values.LogLine:
    line = text.encode() if isinstance(text, str) else text
    return values.LogLine(seq=seq, time=1_700_000_000.5, stream="stdout", process="web.1", release=1, line=line, **more)


class ControlPlane:
    """The whole HTTP side over the in-memory store or the one given, with one instance online and one operator."""

    def __init__(
        self, loop: Loop, settings: app.HttpSettings, store: ports.Store | None = None, **context: Any
    ) -> None:
        self.loop = loop
        self.store = store or fake_store.MemoryStore()
        self.relay = ScriptedRelay()
        self.readiness = app.Readiness(database=True, operator=True, hub=True, instances_online=1)
        given = {"clock": clock.SystemClock(), "ids": clock.SystemIds(), **context}
        self.context = service_context.Context(self.store, notifier.LocalNotifier(), **given)
        self.runs, self.files = fake_runs.MemoryRuns(), archive_files.MemoryArchiveFiles()
        self.services = app.AppServices.over(
            self.context,
            self.relay,
            self._ready,
            runner=self.runs,
            archive=archives.Archives(self.context, self.files),
            entrance=lambda: instances.Entrance("hub.example.com:8443", "hub.example.com:8444", "f" * 64),
        )
        self.instance = loop.run(self._seed())
        self.epoch = 1
        self.app = app.create_app(self.services, loop.core.call, settings)

    async def _ready(self) -> app.Readiness:
        return self.readiness

    async def _seed(self) -> values.Instance:
        await service_context.ensure_defaults(self.context)
        await self.services.accounts.ensure_admin(EMAIL, PASSWORD)
        joined = await self.services.instances.enrol(await self.services.instances.mint_join_token(None), "host-1")
        await self.services.instances.connected(joined.id, "0.1.0", "boot", {"os": "Debian", "cpus": 2})
        return joined

    def token(self, **claims: Any) -> str:
        """A good access token of the operator, or of the user `sub`, with `claims` in place of its own.

        None takes a claim away.
        """
        kid, secret = self.loop.run(self.services.accounts.signing_key())
        now = int(time.time())
        user = claims.get("sub") or self.loop.run(self._user())
        own = {"sub": user, "jti": "j", "iat": now, "nbf": now, "exp": now + 600}
        own["fam"] = self.loop.run(self._login(user))
        own |= {"iss": "dployr", "aud": "dployr-api", "type": "access", "fresh": False}
        chosen = {key: value for key, value in (own | claims).items() if value is not None}
        return jwt.encode(chosen, secret, "HS256", headers={"kid": kid})

    async def _user(self) -> str:
        async with self.store.read() as tx:
            return (await tx.find_user(EMAIL)).id

    def connect(self, **facts: Any) -> None:
        """The instance says other things of itself."""
        self.epoch = self.loop.run(self.services.instances.connected(self.instance.id, "0.1.0", "boot", facts))

    def report(
        self,
        name: str,
        number: int = 1,
        state: str = "live",
        live: int = 1,
        process: values.Process | None = None,
        **changes: Any,
    ) -> None:
        """The instance reports of the service `name`: what it is in, and a release."""

        async def said() -> None:
            async with self.store.read() as tx:
                service = await tx.find_service(name)
            observed = values.Observed(
                service.generation, "running", "healthy", live, "", (process or builders.a_process(),)
            )
            releases = (values.ReleaseReport(number, state, "", "", f"{number:040x}", 0.0),)
            report = builders.a_report(service_id=service.id, observed=observed, releases=releases, **changes)
            await status.Status(self.context).record(self.instance.id, self.epoch, report)

        self.loop.run(said())

    async def _login(self, user_id: str) -> str:
        async with self.store.write() as tx:
            known = await tx.get_user(user_id) is not None
            return (await self.services.accounts.sessions.begin(tx, user_id)).id if known else "fam_none"

    async def change_release(self, name: str, number: int, **changes: Any) -> None:
        async with self.store.write() as tx:
            found = await tx.find_deployment(name)
            old = await tx.get_release(found.id, number)
            await tx.update_release(dataclasses.replace(old, **changes))

    def push(self, item: Any) -> None:
        """Gives the newest follower a batch."""
        self.loop.loop.call_soon_threadsafe(self.relay.queues[-1].put_nowait, item)


@contextlib.contextmanager
def control_plane(
    context: dict[str, Any] | None = None, *, database: pathlib.Path | None = None, **settings: Any
) -> Iterator[tuple[ControlPlane, Client]]:
    """A running control plane's HTTP side, and a client that is signed in as the operator.

    `context` changes what the use cases are given. With `database` the store is the real one, on SQLite.
    """
    with loop_thread() as loop, _store(loop, database) as store:
        plane = ControlPlane(loop, app.HttpSettings(**settings), store, **(context or {}))
        with serving(loop, plane.app) as port:
            yield plane, Client(port, plane.token())


@contextlib.contextmanager
def _store(loop: Loop, database: pathlib.Path | None) -> Iterator[ports.Store | None]:
    if database is None:
        yield None
        return
    store = loop.run(open_store(database, clock.SystemClock()))
    try:
        yield store
    finally:
        loop.run(store.close())


def raw_answer(port: int, data: bytes) -> Answer:
    """The first answer to `data`, sent as it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(data)
        response = http.client.HTTPResponse(sock)
        response.begin()
        with contextlib.closing(response):
            return Answer(response, response.read())
