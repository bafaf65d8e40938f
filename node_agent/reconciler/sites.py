"""The table of all services that the proxy serves. Each worker changes its own row; the proxy gets the whole table."""

import dataclasses

from node_agent import ports
from node_agent.model import spec


class Sites:
    """What is wanted of the proxy, and what it said. The journal holds a row only after the proxy answered with it."""

    def __init__(self, proxy: ports.Proxy, journal: ports.SiteJournal) -> None:
        self._proxy = proxy
        self._journal = journal
        self._wanted: dict[str, ports.Site] = {}
        self._quarantined: dict[str, str] = {}

    async def recover(self) -> None:
        """First at start: finish or undo what was interrupted, then make the journalled table live again."""
        await self._proxy.recover()
        self._wanted = {site.service_id: site for site in await self._journal.sites()}
        await self._apply()

    def site(self, service_id: str) -> ports.Site | None:
        return self._wanted.get(service_id)

    def words(self, route_id: str) -> str:
        """nginx's words on a route that had to be left out, or goes on as before; empty when it is as wished."""
        return self._quarantined.get(route_id, "")

    async def put(self, site: ports.Site) -> None:
        """Send the service's routes to the upstream; returns when that answers. Raises ProxyError or
        SupervisorUnavailableError; then the table is as it was.
        """
        before = self._wanted.get(site.service_id)
        self._wanted[site.service_id] = dataclasses.replace(site, former=self._former(before, site))
        try:
            await self._apply()
        except BaseException:  # also a supervisor that is away, and a cancelled caller: it is not known to be live
            self._restore(site.service_id, before)
            raise
        self._wanted[site.service_id] = served = self._served(self._wanted[site.service_id])
        await self._journal.put_site(served)

    async def drop(self, service_id: str) -> None:
        """Answer nothing for the service any more. Raises as `put` does."""
        before = self._wanted.pop(service_id, None)
        try:
            await self._apply()
        except BaseException:  # also a supervisor that is away, and a cancelled caller: it is not known to be live
            self._restore(service_id, before)
            raise
        await self._journal.drop_site(service_id)

    def _former(self, before: ports.Site | None, site: ports.Site) -> tuple[spec.RouteSpec, ...]:
        """The routes of `before` as they are served, where `site` has them otherwise."""
        if before is None:
            return ()
        served = {route.id: route for route in before.former}
        served |= {route.id: route for route in before.routes if route.id not in self._quarantined}
        return tuple(served[route.id] for route in site.routes if served.get(route.id, route) != route)

    def _served(self, site: ports.Site) -> ports.Site:
        """Without the former routes whose change is served now: nothing goes back to those any more."""
        return dataclasses.replace(site, former=tuple(one for one in site.former if one.id in self._quarantined))

    async def _apply(self) -> None:
        table = tuple(self._wanted[key] for key in sorted(self._wanted) if self._wanted[key].routes)
        state = await self._proxy.apply(table)
        self._quarantined = dict(state.quarantined)

    def _restore(self, service_id: str, before: ports.Site | None) -> None:
        if before is None:
            self._wanted.pop(service_id, None)
        else:
            self._wanted[service_id] = before
