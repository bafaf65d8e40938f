"""Views on the loop: they wait without holding it up, see their own context, and end as they do in threads."""

import asyncio
import contextvars
import threading

import flask
import pytest

from control_plane import errors
from control_plane.api import streams
from control_plane.web import bridge, core, on_loop, waiting
from tests import api_fixtures
from tests.waiting import wait_until

WHO = contextvars.ContextVar("who", default="nobody")


class Gate:
    """What a view waits for until the test opens it."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0

    async def passed(self) -> str:
        self.waiting += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return WHO.get()


@pytest.fixture
def loop():
    with api_fixtures.loop_thread() as running:
        yield running


@pytest.fixture
def gate():
    return Gate()


class App(flask.Flask):
    never_blocks = True


@pytest.fixture
def port(loop, gate):
    app = App("on-loop")

    @app.get("/thread")
    def thread():
        return str(threading.get_ident())

    @app.get("/wait/<name>")
    def wait(name):
        WHO.set(name)
        return f"{loop.core.call(gate.passed())} {flask.request.path}"

    @app.get("/late")
    def late():
        try:
            return loop.core.call(gate.passed(), 0.01)
        except errors.UnavailableError as error:
            return error.message

    @app.get("/raise")
    def broken():
        raise RuntimeError("a view broke")

    @app.get("/lines")
    def lines():
        async def numbers():
            for number in range(3):
                yield f"{number}\n".encode()

        return streams.respond(numbers(), loop.core.call, "text/plain")

    @app.post("/echo")
    def echo():
        return flask.request.get_data()

    @app.post("/reader")
    def reader():
        loop.core.call(asyncio.sleep(0))
        return threading.current_thread().name

    with api_fixtures.serving(loop, app) as found:
        yield found


def get(port, path, results):
    results.append(api_fixtures.Client(port).get(path).text)


def test_a_view_runs_on_the_thread_of_the_loop(loop, port):
    async def ident():
        return threading.get_ident()

    assert api_fixtures.Client(port).get("/thread").text == str(loop.run(ident()))


def test_views_wait_side_by_side_each_with_its_own_request_and_context(loop, port, gate):
    results = []
    names = [f"visitor-{number}" for number in range(40)]  # more than there would be threads
    askers = [threading.Thread(target=get, args=(port, f"/wait/{name}", results)) for name in names]
    for asker in askers:
        asker.start()
    wait_until(lambda: gate.waiting == len(names), 20, "all views to wait at once")
    assert api_fixtures.Client(port).get("/thread").status == 200
    loop.loop.call_soon_threadsafe(gate.open.set)
    for asker in askers:
        asker.join(20)
    assert sorted(results) == sorted(f"{name} /wait/{name}" for name in names)


def test_what_takes_too_long_is_cancelled_and_said(port, gate):
    assert "busy" in api_fixtures.Client(port).get("/late").text
    assert gate.cancelled == 1


def test_a_view_that_breaks_is_a_500_and_the_next_request_is_answered(port):
    client = api_fixtures.Client(port)
    assert client.get("/raise").status == 500
    assert client.get("/thread").status == 200


def test_streams_and_bodies_are_as_they_are_in_threads(port):
    client = api_fixtures.Client(port)
    assert client.get("/lines").text == "0\n1\n2\n"
    assert client.request("POST", "/echo", body=b"said", headers={"Content-Type": "text/plain"}).text == "said"


def test_only_what_runs_under_spawn_can_wait(loop):
    assert not waiting.can_wait()
    with pytest.raises(RuntimeError, match="under spawn"):
        waiting.wait(None)


async def test_a_function_sees_what_it_waits_for_fail_and_be_cancelled():
    seen = []

    async def fails():
        raise ValueError("no")

    def function(awaitable):
        try:
            waiting.wait(awaitable)
        except BaseException as error:
            seen.append(type(error))
            raise

    with pytest.raises(ValueError, match="no"):
        await waiting.spawn(function, fails())
    task = asyncio.ensure_future(waiting.spawn(function, asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [ValueError, asyncio.CancelledError]


def test_a_loop_that_has_ended_is_unavailable_and_leaves_nothing_behind():
    ended = asyncio.new_event_loop()
    ended.close()
    with pytest.raises(errors.UnavailableError, match="stopping"):
        core.Core(ended).call(asyncio.sleep(0))


def test_an_app_that_may_block_runs_in_threads(loop):
    app = flask.Flask("threads")
    app.add_url_rule("/thread", "thread", lambda: threading.current_thread().name)
    with api_fixtures.serving(loop, app) as found:
        assert api_fixtures.Client(found).get("/thread").text.startswith("WSGI")


def test_a_view_with_much_to_read_runs_in_a_thread_and_may_wait_there(port):
    client, text = api_fixtures.Client(port), {"Content-Type": "text/plain"}
    on_loop, aside = (
        client.request("POST", "/reader", b"a" * size, text).text
        for size in (bridge.MAX_ON_LOOP_BYTES, bridge.MAX_ON_LOOP_BYTES + 1)
    )
    assert (on_loop, aside[:4]) == ("test-loop", "WSGI")


async def test_a_stream_is_closed_when_its_head_cannot_be_sent():
    closed = []

    class Stream:
        def __aiter__(self):
            return self

        async def aclose(self):
            closed.append(True)

    def app(_environ, start_response):
        start_response("200 OK", [])
        return Stream()

    async def nobody(_message):
        raise asyncio.CancelledError

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "http_version": "1.1"}
    with pytest.raises(asyncio.CancelledError):
        await on_loop.respond(app, scope, b"", {}, nobody, nobody, asyncio.Event())
    assert closed == [True]
