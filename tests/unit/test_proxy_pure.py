"""The proxy's decisions without nginx: who may stand beside whom, what an answer says, whose turn it is."""

import asyncio
import pathlib

import pytest

from node_agent import errors, ports
from node_agent.paths import Paths
from node_agent.proxy import render, selection, status, words
from node_agent.proxy.latest import Latest
from tests.proxy_fixtures import a_route, a_site, a_static_site, an_id

PATHS = Paths(pathlib.Path("/var/lib/dployr"))
SETTINGS = render.ProxySettings("127.0.0.1", 8081)


def test_a_bad_route_is_left_out_and_takes_no_other_along():
    good, bad = a_route(1, "a.example.com"), a_route(2, "a.example.com; alias /etc/")
    kept, refused = selection.admissible((a_site(1, 20001, good, bad),), SETTINGS, PATHS)
    assert kept == (a_site(1, 20001, good),)
    assert list(refused) == [bad.id]
    assert "cannot route the domain" in refused[bad.id]


def test_a_bad_upstream_takes_only_its_own_routes_along():
    table = (a_static_site(1, "/etc", a_route(1, "a.example.com")), a_site(2, 20002, a_route(2, "b.example.com")))
    kept, refused = selection.admissible(table, SETTINGS, PATHS)
    assert [route.id for site in kept for route in site.routes] == [an_id("rte", 2)]
    assert list(refused) == [an_id("rte", 1)]


@pytest.mark.parametrize("path", ["/x", "/x/"])
def test_of_two_routes_for_one_place_the_older_stays(path):
    newer, older = (
        a_site(1, 20001, a_route(9, "a.example.com", path)),
        a_site(2, 20002, a_route(3, "a.example.com", "/x")),
    )
    kept, refused = selection.admissible((newer, older), SETTINGS, PATHS)
    assert [route.id for site in kept for route in site.routes] == [an_id("rte", 3)]
    assert "an older route has it" in refused[an_id("rte", 9)]


BEFORE, CHANGED = a_route(1, "a.example.com"), a_route(1, "a.example.com; alias /etc/")


def changed(upstream: ports.Upstream) -> ports.Site:
    return ports.Site(an_id("svc", 1), upstream, (CHANGED,), former=(BEFORE,))


@pytest.mark.parametrize("upstream", [ports.Upstream(2, (20002,)), ports.Upstream(2)])
def test_a_route_whose_change_is_refused_goes_on_as_it_was_wherever_requests_go_now(upstream):
    (site,), refused = selection.admissible((changed(upstream),), SETTINGS, PATHS)
    assert (site.upstream, site.routes) == (upstream, (BEFORE,))
    assert refused[CHANGED.id].endswith(selection.AS_BEFORE)


def test_a_route_that_another_has_the_place_of_or_that_cannot_be_rendered_any_more_does_not_go_on():
    heir = a_site(2, 20002, a_route(9, "a.example.com"))
    kept, refused = selection.admissible((changed(ports.Upstream(1, (20001,))), heir), SETTINGS, PATHS)
    assert [route.id for site in kept for route in site.routes] == [an_id("rte", 9)]
    assert "goes on" not in refused[CHANGED.id]
    (site,), refused = selection.admissible((changed(ports.Upstream(1, (70000,))),), SETTINGS, PATHS)
    assert site.routes == ()
    assert "goes on" not in refused[CHANGED.id]


def test_what_is_admissible_can_be_rendered():
    table = (
        a_site(1, 20001, a_route(1, "a.example.com"), a_route(2, "A.example.com"), a_route(3, "a.example.com")),
        a_site(2, 70000, a_route(4, "b.example.com")),
    )
    kept, refused = selection.admissible(table, SETTINGS, PATHS)
    assert render.render(1, kept, SETTINGS, PATHS)
    assert sorted(refused) == [an_id("rte", number) for number in (2, 3, 4)]


@pytest.mark.parametrize(
    ("answer", "generation"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n12\n", 12),
        (b"HTTP/1.1 404 Not Found\r\n\r\n12\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\ntwelve", None),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"1" * 4000, None),
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\n", None),
        (b"SSH-2.0 200 \r\n\r\n12", None),
        (b"", None),
    ],
)
def test_only_a_whole_answer_with_a_number_counts(answer, generation):
    assert status.parse(answer) == generation


def test_nginx_s_words_come_without_our_directories():
    text = (
        'nginx: [emerg] unknown directive "bogus" in /d/generations/3/routes/x.conf:4\n'
        "nginx: configuration file /d/generations/3/nginx.conf test failed\n"
    )
    assert words.of(text, pathlib.Path("/d/generations/3")) == 'unknown directive "bogus" in routes/x.conf:4'


def test_words_that_repeat_are_said_once():
    line = "2026/01/01 00:00:00 [emerg] 12#12: bind() to 127.0.0.1:80 failed (98: Address already in use)\n"
    assert words.of(line * 5, pathlib.Path("/d")) == "bind() to 127.0.0.1:80 failed (98: Address already in use)"


def test_words_in_no_known_form_are_passed_on_whole():
    assert words.of("nginx cannot be found\n", pathlib.Path("/d")) == "nginx cannot be found"


class Work:
    """Work that ends when told to, and remembers what it was given."""

    def __init__(self):
        self.given = []
        self.go = asyncio.Event()

    async def __call__(self, value):
        self.given.append(value)
        await self.go.wait()
        if value == "bad":
            raise errors.ProxyError("no")
        return value


async def test_those_who_wait_share_one_turn_on_the_newest_value():
    work = Work()
    latest = Latest(work)
    tasks = [asyncio.create_task(latest.ask(value)) for value in ("a", "b", "c", "d")]
    await asyncio.sleep(0)
    work.go.set()
    assert await asyncio.gather(*tasks) == ["a", "d", "d", "d"]
    assert work.given == ["a", "d"]


async def test_one_who_asks_during_a_turn_gets_a_newer_outcome():
    work = Work()
    latest = Latest(work)
    first = asyncio.create_task(latest.ask("a"))
    while not work.given:
        await asyncio.sleep(0)
    later = [asyncio.create_task(latest.ask(value)) for value in ("b", "c")]
    await asyncio.sleep(0)
    work.go.set()
    assert await first == "a"
    assert await asyncio.gather(*later) == ["c", "c"]
    assert work.given == ["a", "c"]


async def test_a_failure_reaches_everyone_who_waited_and_ends_there():
    work = Work()
    latest = Latest(work)
    tasks = [asyncio.create_task(latest.ask(value)) for value in ("a", "x", "bad")]
    await asyncio.sleep(0)
    work.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [str, errors.ProxyError, errors.ProxyError]
    assert await latest.ask("good") == "good"


async def test_when_the_one_at_work_is_cancelled_the_next_does_it():
    work = Work()
    latest = Latest(work)
    first = asyncio.create_task(latest.ask("a"))
    while not work.given:
        await asyncio.sleep(0)
    second = asyncio.create_task(latest.ask("b"))
    await asyncio.sleep(0)
    first.cancel()
    work.go.set()
    assert await second == "b"
    assert first.cancelled()
