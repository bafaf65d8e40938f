"""A change that cannot go live is seen and undone; one that was interrupted anywhere is finished or undone."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import time

import pytest

from node_agent import errors
from node_agent.proxy import render, status
from node_agent.proxy.generations import KEEP, Change, Generations
from tests.proxy_fixtures import LocalNginx, Rig, Upstream, a_route, a_site, an_id, free_port, needs_nginx
from tests.waiting import wait_until_async

pytestmark = needs_nginx


class Crash(BaseException):
    """The agent ends here, without a word."""


class Scripted(LocalNginx):
    """Breaks files as nginx would have to find them broken, refuses or crashes at a verb."""

    def __init__(self, paths):
        super().__init__(paths)
        self.poison = frozenset()
        self.poison_word = "\0"
        self.at = {}

    def _script(self, verb):
        error = self.at.get(verb)
        if error is not None:
            self.at = {key: value for key, value in self.at.items() if key != verb}
            raise error

    async def proxy_test(self, generation):
        self._script("test")
        for name in self.poison:
            path = self.paths.proxy / "generations" / str(generation) / "routes" / f"{name}.conf"
            if path.exists():
                _spoil(path)
        for path in (self.paths.proxy / "generations" / str(generation)).glob("routes/*.conf"):
            if self.poison_word in path.read_text():
                _spoil(path)
        return await super().proxy_test(generation)

    async def proxy_reload(self):
        self._script("reload")
        await super().proxy_reload()
        self._script("reloaded")


def _spoil(path):
    text = path.read_text()
    path.unlink()
    path.write_text(text + "bogus;\n")


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    made.nginx = Scripted(made.paths)
    yield made
    made.nginx.kill()


@pytest.fixture(scope="module")
def blue():
    server = Upstream("blue")
    yield server
    server.close()


@pytest.fixture(scope="module")
def green():
    server = Upstream("green")
    yield server
    server.close()


def table(upstream):
    return (a_site(1, upstream.port, a_route(1, "a.example.com")),)


async def answer_of(rig):
    return (await rig.get("a.example.com"))[1]


# what nginx refuses


async def test_a_route_that_nginx_refuses_is_found_and_the_others_go_live(rig, blue):
    rig.nginx.poison = {an_id("rte", 3), an_id("rte", 6)}
    proxy = rig.proxy()
    sites = tuple(a_site(n, blue.port, a_route(n, f"a{n}.example.com")) for n in range(1, 9))
    state = await proxy.apply(sites)
    assert [route for route, _ in state.quarantined] == [an_id("rte", 3), an_id("rte", 6)]
    assert all(
        'unknown directive "bogus"' in words and "/" + an_id("rte", 3)[:4] in words for _, words in state.quarantined
    )
    assert str(rig.paths.root) not in state.quarantined[0][1]
    assert [(await rig.get(f"a{n}.example.com"))[0] for n in range(1, 9)] == [200, 200, 404, 200, 200, 404, 200, 200]


async def test_a_quarantined_route_costs_no_reload_when_asked_again(rig, blue):
    rig.nginx.poison = {an_id("rte", 2)}
    proxy = rig.proxy()
    sites = tuple(a_site(n, blue.port, a_route(n, f"a{n}.example.com")) for n in range(1, 4))
    state = await proxy.apply(sites)
    reloads = rig.nginx.reloads
    assert await proxy.apply(sites) == state
    assert rig.nginx.reloads == reloads
    rig.nginx.poison = set()
    assert (await proxy.apply(sites)).quarantined == ()
    assert (await rig.get("a2.example.com"))[0] == 200


async def test_a_route_that_nginx_takes_no_longer_goes_on_as_it_was(rig, blue):
    proxy = rig.proxy()
    before, changed = a_route(1, "a.example.com"), a_route(1, "a.example.com", headers=(("X-New", "1"),))
    other = a_site(2, blue.port, a_route(2, "b.example.com"))
    await proxy.apply((a_site(1, blue.port, before), other))
    reloads = rig.nginx.reloads
    rig.nginx.poison_word = "X-New"
    site = dataclasses.replace(a_site(1, blue.port, changed), former=(before,))
    state = await proxy.apply((site, other))
    assert [(route, "goes on as it was" in words) for route, words in state.quarantined] == [(changed.id, True)]
    assert [(await rig.get(domain))[0] for domain in ("a.example.com", "b.example.com")] == [200, 200]
    assert rig.nginx.reloads == reloads
    rig.nginx.poison_word = "\0"
    assert (await proxy.apply((site, other))).quarantined == ()
    assert (await rig.ask("a.example.com"))[1]["x-new"] == "1"


async def test_when_nothing_passes_nginx_is_quoted_and_the_former_serves(rig, blue):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    broken = Rig(rig.paths.root)
    broken.settings = render.ProxySettings("127.0.0.1", rig.settings.port, run_as="nobody-of-this-name")
    with pytest.raises(errors.ProxyError, match="nobody-of-this-name"):
        await broken.proxy(rig.nginx).apply(table(blue))
    assert await answer_of(rig) == "blue"


async def test_an_unchanged_table_is_left_alone(rig, blue):
    proxy = rig.proxy()
    state = await proxy.apply(table(blue))
    tests, reloads = rig.nginx.tests, rig.nginx.reloads
    assert await proxy.apply(table(blue)) == state
    assert await rig.proxy().apply(table(blue)) == state
    assert (rig.nginx.tests, rig.nginx.reloads) == (tests, reloads)


async def test_old_generations_are_deleted(rig, blue, green):
    proxy = rig.proxy()
    for turn in range(KEEP + 2):
        await proxy.apply(table(green if turn % 2 else blue))
    kept = Generations(rig.paths.proxy)
    assert len(kept.numbers()) == KEEP
    assert kept.current() == kept.numbers()[-1]


async def test_an_edited_file_is_put_right_by_the_next_change(rig, blue):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    edited = rig.paths.proxy / "current" / "routes" / f"{an_id('rte', 1)}.conf"
    edited.write_text("bogus;")
    await proxy.apply(table(blue))
    assert "bogus" not in edited.read_text()
    assert await answer_of(rig) == "blue"


# a port that another process holds


@contextlib.contextmanager
def held_port():
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


async def test_a_held_port_is_seen_and_undone_while_the_former_serves(rig, blue):
    await rig.proxy().apply(table(blue))
    with held_port() as port:
        moved = Rig(rig.paths.root)
        moved.settings = render.ProxySettings("127.0.0.1", port)
        before = Generations(rig.paths.proxy).current()
        began = time.monotonic()
        with pytest.raises(errors.ProxyError, match=rf"127.0.0.1:{port} .*Address already in use"):
            await moved.proxy(rig.nginx).apply(table(blue))
        print(f"undone after {time.monotonic() - began:.2f} s")
    disk = Generations(rig.paths.proxy)
    assert (disk.current(), disk.change()) == (before, None)
    assert await answer_of(rig) == "blue"
    assert await status.ask(str(rig.paths.nginx / "status.sock")) == before


async def test_a_port_that_becomes_free_is_taken_by_the_next_try(rig, blue):
    with held_port() as port:
        rig.settings = render.ProxySettings("127.0.0.1", port)
        with pytest.raises(errors.ProxyError, match=f"127.0.0.1:{port}"):
            await rig.proxy().recover()
    await rig.proxy().apply(table(blue))
    assert await answer_of(rig) == "blue"


async def test_the_agent_may_listen_elsewhere_after_a_restart(rig, blue):
    await rig.proxy().apply(table(blue))
    rig.settings = render.ProxySettings("127.0.0.1", free_port())
    proxy = rig.proxy()
    await proxy.recover()
    await proxy.apply(table(blue))
    assert await answer_of(rig) == "blue"


# interruptions, by step


def disk_with(rig, before, after, steps):
    """The state on disk when the agent ends after `steps` of a change from generation `before` to `after`."""
    disk = Generations(rig.paths.proxy)
    settings = rig.proxy()._settings
    number = before + 1
    disk.stage(number, render.render(number, after, settings, rig.paths))
    if "journalled" in steps:
        disk.begin(Change(before, number))
    if "switched" in steps:
        disk.point(number)
    return number


@pytest.mark.parametrize(
    ("steps", "expected"), [((), "blue"), (("journalled",), "blue"), (("journalled", "switched"), "green")]
)
@pytest.mark.parametrize("nginx", ["up", "killed"])
async def test_a_change_interrupted_on_disk_is_settled(rig, blue, green, steps, expected, nginx):
    before = (await rig.proxy().apply(table(blue))).generation
    after = disk_with(rig, before, table(green), steps)
    if nginx == "killed":
        rig.nginx.kill()
    proxy = rig.proxy()
    await proxy.recover()
    assert await answer_of(rig) == expected
    disk = Generations(rig.paths.proxy)
    assert disk.change() is None
    assert disk.current() == (after if expected == "green" else before)
    await proxy.apply(table(green))
    assert await answer_of(rig) == "green"


@pytest.mark.parametrize("verb", ["test", "reload", "reloaded"])
async def test_an_agent_killed_in_a_change_is_recovered_by_the_next(rig, blue, green, verb):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    rig.nginx.at = {verb: Crash()}
    with pytest.raises(Crash):
        await proxy.apply(table(green))
    assert await answer_of(rig) in {"blue", "green"}
    fresh = rig.proxy()
    await fresh.recover()
    assert await answer_of(rig) == ("blue" if verb == "test" else "green")
    await fresh.apply(table(green))
    assert await answer_of(rig) == "green"
    disk = Generations(rig.paths.proxy)
    assert disk.change() is None
    assert not list((rig.paths.proxy / "generations").glob(".*"))


async def test_an_unfinished_directory_is_deleted(rig, blue):
    await rig.proxy().apply(table(blue))
    left = rig.paths.proxy / "generations" / ".9.new"
    left.mkdir()
    (left / "nginx.conf").write_text("half")
    await rig.proxy().recover()
    assert not left.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"from": 1}', '{"from": null, "to": 2}'])
async def test_a_torn_journal_is_as_none(rig, blue, text):
    await rig.proxy().apply(table(blue))
    (rig.paths.proxy / "change.json").write_text(text)
    await rig.proxy().recover()
    assert await answer_of(rig) == "blue"


async def test_a_switched_generation_that_cannot_load_is_left_for_the_one_before(rig, blue, green):
    before = (await rig.proxy().apply(table(blue))).generation
    after = disk_with(rig, before, table(green), ("journalled", "switched"))
    (rig.paths.proxy / "generations" / str(after) / "nginx.conf").write_text("bogus;")
    await rig.proxy().recover()
    assert await answer_of(rig) == "blue"
    assert Generations(rig.paths.proxy).current() == before


async def test_lost_files_are_no_end(rig, blue):
    await rig.proxy().apply(table(blue))
    rig.nginx.kill()
    for path in (rig.paths.proxy / "generations").rglob("nginx.conf"):
        path.write_text("bogus;")
    proxy = rig.proxy()
    await proxy.recover()
    assert (await rig.get("a.example.com"))[0] == 404
    await proxy.apply(table(blue))
    assert await answer_of(rig) == "blue"


async def test_a_supervisor_that_is_away_is_told_and_the_former_table_stays(rig, blue, green):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    for verb in ("test", "reload"):
        rig.nginx.at = {verb: errors.SupervisorUnavailableError("away")}
        with pytest.raises(errors.SupervisorUnavailableError):
            await proxy.apply(table(green))
        assert await answer_of(rig) == "blue"
    await proxy.apply(table(green))
    assert await answer_of(rig) == "green"


async def test_a_cancelled_caller_leaves_something_that_the_next_settles(rig, blue, green):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    disk = Generations(rig.paths.proxy)
    task = asyncio.create_task(proxy.apply(table(green)))
    await wait_until_async(lambda: disk.change() is not None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await proxy.apply(table(blue))
    assert await answer_of(rig) == "blue"
    assert disk.change() is None


# nginx itself


async def test_a_killed_nginx_comes_back_with_what_it_served(rig, blue):
    proxy = rig.proxy()
    state = await proxy.apply(table(blue))
    rig.nginx.kill()
    assert (rig.paths.nginx / "status.sock").exists()  # what would stop the next one from binding
    await proxy.recover()
    assert await answer_of(rig) == "blue"
    assert await proxy.apply(table(blue)) == state


async def test_a_killed_nginx_is_started_by_the_next_change(rig, blue, green):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    rig.nginx.kill()
    await proxy.apply(table(green))
    assert await answer_of(rig) == "green"


async def test_a_killed_worker_is_nginx_s_own_business(rig, blue, green):
    proxy = rig.proxy()
    await proxy.apply(table(blue))
    os.kill(rig.nginx.workers()[0], signal.SIGKILL)
    await proxy.apply(table(green))
    assert await answer_of(rig) == "green"


async def test_numbers_go_on_above_what_nginx_answers_when_the_files_are_lost(rig, blue):
    proxy = rig.proxy()
    for port in range(3):
        await proxy.apply((*table(blue), a_site(2, 1 + port, a_route(2, "b.example.com"))))
    served = await status.ask(str(rig.paths.nginx / "status.sock"))
    (rig.paths.proxy / "current").unlink()
    for directory in (rig.paths.proxy / "generations").iterdir():
        directory.rename(rig.paths.root / f"lost{directory.name}")
    assert (await rig.proxy().apply(table(blue))).generation > served
    assert await answer_of(rig) == "blue"
