"""What every ports.Proxy keeps to: the real one on a real nginx, and the fake."""

import asyncio

import pytest

from node_agent import errors
from node_agent.fakes.proxy import FakeProxy
from tests.proxy_fixtures import LocalNginx, Rig, Upstream, a_route, a_site, an_id, needs_nginx


class Refusing(LocalNginx):
    """A host whose nginx refuses every configuration."""

    broken = False

    async def proxy_test(self, generation):
        return (False, "nginx: [emerg] no") if self.broken else await super().proxy_test(generation)


class Real:
    def __init__(self, tmp_path):
        self.rig = Rig(tmp_path)
        self.rig.nginx = Refusing(self.rig.paths)
        self.proxy = self.rig.proxy()

    def break_it(self):
        self.rig.nginx.broken = True

    async def answers(self, domain):
        return (await self.rig.get(domain))[1]

    def close(self):
        self.rig.nginx.kill()


class Fake:
    def __init__(self, tmp_path):
        rig = Rig(tmp_path)
        self.proxy = FakeProxy(rig.paths, rig.settings)
        self.names = {}

    def break_it(self):
        self.proxy.broken = "no"

    async def answers(self, domain):
        found = self.proxy.upstream(domain)
        return self.names[found.ports[0]] if found else "There is no application at this address.\n"

    def close(self):
        pass


@pytest.fixture(params=[pytest.param(Real, marks=needs_nginx), Fake])
def host(request, tmp_path):
    made = request.param(tmp_path)
    yield made
    made.close()


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


@pytest.fixture(autouse=True)
def names(host, blue, green):
    host.names = {blue.port: "blue", green.port: "green"}


NOBODY = "There is no application at this address.\n"


async def test_after_recovery_on_a_new_host_nobody_is_served(host):
    await host.proxy.recover()
    assert await host.answers("a.example.com") == NOBODY


async def test_exactly_the_table_is_live_when_apply_returns(host, blue, green):
    await host.proxy.recover()
    both = (a_site(1, blue.port, a_route(1, "a.example.com")), a_site(2, green.port, a_route(2, "b.example.com")))
    await host.proxy.apply(both)
    assert [await host.answers(name) for name in ("a.example.com", "b.example.com")] == ["blue", "green"]
    await host.proxy.apply(both[1:])
    assert [await host.answers(name) for name in ("a.example.com", "b.example.com")] == [NOBODY, "green"]


async def test_the_same_table_again_is_the_same_generation(host, blue, green):
    await host.proxy.recover()
    table = (a_site(1, blue.port, a_route(1, "a.example.com")),)
    first = await host.proxy.apply(table)
    assert await host.proxy.apply(table) == first
    assert (await host.proxy.apply((a_site(1, green.port, *table[0].routes),))).generation > first.generation


async def test_a_route_that_cannot_be_is_quarantined_and_the_others_go_live(host, blue):
    await host.proxy.recover()
    bad = a_route(2, "b.example.com; alias /etc/")
    state = await host.proxy.apply((a_site(1, blue.port, a_route(1, "a.example.com"), bad),))
    assert [route for route, _ in state.quarantined] == [an_id("rte", 2)]
    assert await host.answers("a.example.com") == "blue"


async def test_a_refused_change_leaves_the_former_table_serving(host, blue, green):
    await host.proxy.recover()
    await host.proxy.apply((a_site(1, blue.port, a_route(1, "a.example.com")),))
    host.break_it()
    with pytest.raises(errors.ProxyError, match="no"):
        await host.proxy.apply((a_site(1, green.port, a_route(1, "a.example.com")),))
    assert await host.answers("a.example.com") == "blue"


async def test_of_concurrent_tables_the_newest_wins(host, blue, green):
    await host.proxy.recover()
    tables = [(a_site(1, port, a_route(1, "a.example.com")),) for port in [blue.port, green.port] * 4]
    states = await asyncio.gather(*(host.proxy.apply(table) for table in tables))
    assert await host.answers("a.example.com") == "green"
    assert max(state.generation for state in states) == states[-1].generation
