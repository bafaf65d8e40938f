"""The table of sites: what it says is live was answered by the proxy, whatever went wrong on the way."""

import asyncio
import dataclasses

import pytest

from node_agent import errors, ports
from node_agent.reconciler.sites import Sites
from node_agent.state.journal import Journal
from tests.unit.test_plan import ROUTES, SERVICE, a_site

FAILURES = [errors.ProxyError("no"), errors.SupervisorUnavailableError("away"), asyncio.CancelledError()]


class Troubled:
    """A proxy that raises what it is given; nothing: it takes every table but for the routes that it refuses."""

    def __init__(self) -> None:
        self.trouble: BaseException | None = None
        self.refused: tuple[tuple[str, str], ...] = ()
        self.tables: list[tuple[ports.Site, ...]] = []

    async def recover(self) -> None:
        return None

    async def apply(self, sites: tuple[ports.Site, ...]) -> ports.ProxyState:
        if self.trouble is not None:
            raise self.trouble
        self.tables.append(sites)
        return ports.ProxyState(len(self.tables), self.refused)


@pytest.fixture
async def journal(tmp_path):
    opened = await Journal.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


@pytest.mark.parametrize("trouble", FAILURES, ids=lambda found: type(found).__name__)
async def test_a_change_that_did_not_go_live_leaves_the_table_as_it_was(journal, trouble: BaseException) -> None:
    proxy = Troubled()
    sites = Sites(proxy, journal)
    await sites.put(a_site(1, 20001))
    proxy.trouble = trouble
    with pytest.raises(type(trouble)):
        await sites.put(a_site(2, 20002))
    with pytest.raises(type(trouble)):
        await sites.drop(SERVICE)
    assert sites.site(SERVICE) == a_site(1, 20001)
    assert await journal.sites() == (a_site(1, 20001),)


async def test_a_new_agent_makes_the_journalled_table_live_again(journal) -> None:
    await Sites(Troubled(), journal).put(a_site(1, 20001))
    proxy = Troubled()
    sites = Sites(proxy, journal)
    await sites.recover()
    assert proxy.tables == [(a_site(1, 20001),)]
    assert sites.site(SERVICE) == a_site(1, 20001)


def a_site_of(domain: str) -> ports.Site:
    return ports.Site(SERVICE, ports.Upstream(1, (20001,)), (dataclasses.replace(ROUTES[0], domain=domain),))


async def test_a_route_goes_back_to_what_was_served_last_and_never_further(journal) -> None:
    proxy = Troubled()
    sites = Sites(proxy, journal)
    await sites.put(a_site_of("first.test"))
    await sites.put(a_site_of("second.test"))
    assert sites.site(SERVICE).former == ()
    proxy.refused = ((ROUTES[0].id, "no"),)
    for domain in ("third.test", "fourth.test"):
        await sites.put(a_site_of(domain))
        assert proxy.tables[-1][0].former == a_site_of("second.test").routes
    assert (await journal.sites())[0].former == a_site_of("second.test").routes
    proxy.refused = ()
    await sites.put(a_site_of("fifth.test"))
    assert (await journal.sites())[0].former == ()
