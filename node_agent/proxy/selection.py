"""Which routes of a table may stand beside each other. Pure; a refused route never takes another one along."""

import dataclasses
from collections.abc import Collection

from node_agent import ports
from node_agent.model import spec
from node_agent.paths import Paths
from node_agent.proxy import render


def admissible(
    sites: tuple[ports.Site, ...], settings: render.ProxySettings, paths: Paths
) -> tuple[tuple[ports.Site, ...], dict[str, str]]:
    """The table without the routes that cannot be rendered, and why each is left out.

    Of two routes for one place the older one stays: ids sort by age, so a newcomer never takes a domain over.
    Raises ValueError when the settings themselves cannot be rendered.
    """
    render.render(0, (), settings, paths)
    refused: dict[str, str] = {}
    taken: set[tuple[str, str]] = set()
    for site, route in sorted(_pairs(sites), key=lambda pair: pair[1].id):
        try:
            render.render(0, (dataclasses.replace(site, routes=(route,)),), settings, paths)
        except ValueError as error:
            refused[route.id] = str(error)
            continue
        place = (route.domain, route.path.rstrip("/"))
        if place in taken:
            refused[route.id] = f"cannot route {route.domain}{route.path} twice: an older route has it"
        taken.add(place)
    return only(sites, set(route_ids(sites)) - set(refused)), refused


def route_ids(sites: tuple[ports.Site, ...]) -> list[str]:
    """Every route, oldest first."""
    return sorted(route.id for _, route in _pairs(sites))


def only(sites: tuple[ports.Site, ...], ids: Collection[str]) -> tuple[ports.Site, ...]:
    """The table with no other routes than `ids`."""
    return tuple(
        dataclasses.replace(site, routes=tuple(route for route in site.routes if route.id in ids)) for site in sites
    )


def _pairs(sites: tuple[ports.Site, ...]) -> list[tuple[ports.Site, spec.RouteSpec]]:
    return [(site, route) for site in sites for route in site.routes]
