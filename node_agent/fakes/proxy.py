"""The proxy in memory: what would be live, with the same rules for what may be routed."""

from node_agent import errors, ports
from node_agent.paths import Paths
from node_agent.proxy import render, selection


class FakeProxy:
    """Implements ports.Proxy. `broken` is what nginx would say to every change; `applied` counts generations."""

    def __init__(self, paths: Paths, settings: render.ProxySettings) -> None:
        self.live: tuple[ports.Site, ...] = ()
        self.broken = ""
        self.applied = 0
        self.recovered = False
        self._paths = paths
        self._settings = settings

    async def recover(self) -> None:
        self.recovered = True

    async def apply(self, sites: tuple[ports.Site, ...]) -> ports.ProxyState:
        kept, refused = selection.admissible(sites, self._settings, self._paths)
        kept = tuple(sorted((site for site in kept if site.routes), key=lambda site: site.service_id))
        if kept != self.live:
            if self.broken:
                raise errors.ProxyError(f"cannot configure the proxy: {self.broken}")
            self.live = kept
            self.applied += 1
        return ports.ProxyState(self.applied, tuple(sorted(refused.items())))

    def upstream(self, domain: str, path: str = "/") -> ports.Upstream | None:
        """Where a request would go: the longest path of the domain that covers it."""
        found = [
            (len(route.path), site.upstream)
            for site in self.live
            for route in site.routes
            if route.domain == domain and (path + "/").startswith(route.path.rstrip("/") + "/")
        ]
        return max(found, key=lambda pair: pair[0])[1] if found else None
