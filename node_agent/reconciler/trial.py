"""The trial of a canary: its steps in order, and how its requests end beside those of the live release."""

import asyncio
import dataclasses
import math
from typing import TYPE_CHECKING

from node_agent import errors
from node_agent.model import canary, formation, spec
from node_agent.model.actions import Target
from node_agent.model.canary import Counts

if TYPE_CHECKING:
    from node_agent.reconciler.host import ServiceHost

LOOK_S = 0.5
PATIENCE = 60  # looks in a row at a canary that has not its share


def percents(strategy: spec.Strategy) -> tuple[int, ...]:
    """The shares of the requests that a canary gets one after the other. Pure."""
    return (strategy.weight, *(step for step in strategy.steps if step > strategy.weight))


async def run(service: "ServiceHost", target: Target, live: Target, strategy: spec.Strategy) -> None:
    """Return when `target` did as well as `live` in every step. Raises ReleaseFailedError as soon as it does not."""
    both = (await _ports(service, target), await _ports(service, live))
    watch = _Watch(service, target, both, await _restarts(service, target))
    for percent in percents(strategy):
        await watch.step(percent, strategy.interval_s)


@dataclasses.dataclass(frozen=True, slots=True)
class _Watch:
    """`ports` are those of the canary and of the live release; `begun` is what both had been asked when each step began.

    A canary must do well in each step and in all together: a share of few requests says something only after a while.
    """

    service: "ServiceHost"
    target: Target
    ports: tuple[frozenset[int], frozenset[int]]
    restarts: int
    begun: list[tuple[Counts, Counts]] = dataclasses.field(default_factory=list)

    async def step(self, percent: int, interval_s: float) -> None:
        """Only time in which the proxy gives the canary its share, and we look, counts."""
        self.begun.append(self._counts())
        self.service.trial = (self.target, percent)
        self.service.changed()
        look_s = min(LOOK_S, interval_s)
        left, in_vain = math.ceil(interval_s / LOOK_S), 0
        while left > 0:
            await asyncio.sleep(look_s)
            await self._judge()
            left, in_vain = (left - 1, 0) if _share(self.service) == percent else (left, in_vain + 1)
            if in_vain >= PATIENCE:
                raise errors.ReleaseFailedError(
                    "canary_failed",
                    f"the canary could not be given its {percent} percent of the requests: it does not own its port any "
                    "more, or the proxy could not be changed; read its log, then deploy again",
                )

    async def _judge(self) -> None:
        if await _restarts(self.service, self.target) > self.restarts:
            raise errors.ReleaseFailedError(
                "canary_crashed", "the canary crashed; the former release has all requests again"
            )
        new, former = self._counts()
        for new_before, former_before in self.begun:
            if words := canary.verdict(new.since(new_before), former.since(former_before)):
                raise errors.ReleaseFailedError("canary_failed", words)

    def _counts(self) -> tuple[Counts, Counts]:
        new, former = self.ports
        return self.service.host.requests.of(new), self.service.host.requests.of(former)


def _share(service: "ServiceHost") -> int:
    """The percent of the requests that the proxy gives to a canary of the service now."""
    site = service.host.sites.site(service.service_id)
    return site.upstream.canary.percent if site is not None and site.upstream.canary is not None else 0


async def _ports(service: "ServiceHost", target: Target) -> frozenset[int]:
    return frozenset(found.port for found in await service.of(target) if formation.is_routed(found.id.name))


async def _restarts(service: "ServiceHost", target: Target) -> int:
    return sum(found.restarts for found in await service.of(target))
