"""The trial of a canary: its steps in order, and how its requests end beside those of the live release."""

import asyncio
from typing import TYPE_CHECKING

from node_agent import errors
from node_agent.model import canary, formation, spec
from node_agent.model.actions import Target

if TYPE_CHECKING:
    from node_agent.reconciler.host import ServiceHost

LOOK_S = 0.5


def percents(strategy: spec.Strategy) -> tuple[int, ...]:
    """The shares of the requests that a canary gets one after the other. Pure."""
    return (strategy.weight, *(step for step in strategy.steps if step > strategy.weight))


async def watch(service: "ServiceHost", target: Target, live: Target, interval_s: float) -> None:
    """Return when `target` did as well as `live` for `interval_s`. Raises ReleaseFailedError as soon as it does not."""
    host = service.host
    until = host.clock.monotonic() + interval_s
    ports = [await _ports(service, one) for one in (target, live)]
    before = [host.requests.of(found) for found in ports]
    restarts = await _restarts(service, target)
    while host.clock.monotonic() < until:
        await asyncio.sleep(min(LOOK_S, interval_s))
        if await _restarts(service, target) > restarts:
            raise errors.ReleaseFailedError(
                "canary_crashed", "the canary crashed; the former release has all requests again"
            )
        new, former = (host.requests.of(found).since(then) for found, then in zip(ports, before, strict=True))
        if words := canary.verdict(new, former):
            raise errors.ReleaseFailedError("canary_failed", words)


async def _ports(service: "ServiceHost", target: Target) -> frozenset[int]:
    return frozenset(found.port for found in await service.of(target) if formation.is_routed(found.id.name))


async def _restarts(service: "ServiceHost", target: Target) -> int:
    return sum(found.restarts for found in await service.of(target))
