"""Which routes of a table may stand beside each other. Pure; a refused route never takes another one along, and goes on as it
was served before where that is known and possible.
"""

import dataclasses
from collections.abc import Collection, Iterable

from node_agent import ports
from node_agent.model import spec
from node_agent.paths import Paths
from node_agent.proxy import render

AS_BEFORE = "; it goes on as it was before"

Place = tuple[str, str]


def admissible(
    sites: tuple[ports.Site, ...], settings: render.ProxySettings, paths: Paths
) -> tuple[tuple[ports.Site, ...], dict[str, str]]:
    """The table without the routes that cannot be rendered, and why each is left out, or goes on as before.

    Of two routes for one place the older one stays: ids sort by age, so a newcomer never takes a domain over.
    Raises ValueError when the settings themselves cannot be rendered.
    """
    render.render(0, (), settings, paths)

    def fault(site: ports.Site, route: spec.RouteSpec) -> str:
        try:
            render.served_files((dataclasses.replace(site, routes=(route,)),), settings, paths)
        except ValueError as error:
            return str(error)
        return ""

    refused: dict[str, str] = {}
    taken: set[Place] = set()
    for site, route in sorted(_pairs(sites), key=lambda pair: pair[1].id):
        if words := fault(site, route) or _double(route, taken):
            refused[route.id] = words
        else:
            taken.add(_place(route))
    usable = (dataclasses.replace(site, former=tuple(r for r in site.former if not fault(site, r))) for site in sites)
    table = only(tuple(usable), set(route_ids(sites)) - set(refused))
    for route_id in sorted(refused):
        if wider := with_former(table, route_id):
            table = wider
            refused[route_id] += AS_BEFORE
    return table, refused


def with_former(sites: tuple[ports.Site, ...], route_id: str) -> tuple[ports.Site, ...] | None:
    """The table with a route that is left out of it as it was served before; None when that is unknown or impossible."""
    found = next((route for site in sites for route in site.former if route.id == route_id), None)
    if found is None or _place(found) in {_place(route) for _, route in _pairs(sites)}:
        return None
    return tuple(_with(site, [*site.routes, found]) if found in site.former else site for site in sites)


def route_ids(sites: tuple[ports.Site, ...]) -> list[str]:
    """Every route, oldest first."""
    return sorted(route.id for _, route in _pairs(sites))


def only(sites: tuple[ports.Site, ...], ids: Collection[str]) -> tuple[ports.Site, ...]:
    """The table with no other routes than `ids`."""
    return tuple(_with(site, (route for route in site.routes if route.id in ids)) for site in sites)


def _pairs(sites: tuple[ports.Site, ...]) -> list[tuple[ports.Site, spec.RouteSpec]]:
    return [(site, route) for site in sites for route in site.routes]


def _with(site: ports.Site, routes: Iterable[spec.RouteSpec]) -> ports.Site:
    return dataclasses.replace(site, routes=tuple(routes))


def _place(route: spec.RouteSpec) -> Place:
    return route.domain, route.path.rstrip("/")


def _double(route: spec.RouteSpec, taken: Collection[Place]) -> str:
    return f"cannot route {route.domain}{route.path} twice: an older route has it" if _place(route) in taken else ""
