"""Where a call may go: every address of the target is checked, and exactly those are what the caller may dial.

Comparing names protects nothing, so nothing here looks at one for long. The answer is good for one call only: the next
one resolves and checks again, because a name may lead elsewhere by then.
"""

import dataclasses
import ipaddress
from collections.abc import Callable

import structlog

from addresses import own, public
from addresses.public import Address, Allow
from control_plane import errors
from control_plane.delivery.parts import Resolver
from control_plane.domain import outgoing

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """`addresses` are in the resolver's order, at least one."""

    url: outgoing.Url
    addresses: tuple[Address, ...]


class Guard:
    """`allow` is the operator's list; what it holds may be called on any port, this machine included."""

    def __init__(
        self,
        resolver: Resolver,
        allow: Allow = (),
        is_own: Callable[[Address], bool] = own.is_own,
    ) -> None:
        self._resolver = resolver
        self._allow = allow
        self._is_own = is_own

    async def check_target(self, url: str) -> Checked:
        """Resolve once and check all. InvalidError when any address may not be called, UnavailableError without one."""
        target = outgoing.check_url(url, self._allow)
        addresses = (target.literal,) if target.literal else await self._resolve(target)
        for address in addresses:
            if issue := self._issue(address, target.port):
                log.warning("webhook.target_refused", host=target.host, address=str(address), issue=issue)
                # which address a name has in here is not for everybody to know
                raise outgoing.refused(f"{target.host} {'' if target.literal else 'leads to an address that '}{issue}")
        return Checked(target, addresses)

    async def _resolve(self, target: outgoing.Url) -> tuple[Address, ...]:
        texts = await self._resolver.resolve(target.host, target.port)
        if not texts:
            raise errors.UnavailableError(f"cannot resolve {target.host}: it has no address")
        try:
            return tuple(public.plain(ipaddress.ip_address(text)) for text in texts)
        except ValueError:
            raise outgoing.refused(f"{target.host} leads to what is no address") from None

    def _issue(self, address: Address, port: int) -> str:
        if issue := outgoing.address_issue(address, port, self._allow):
            return issue
        allowed = any(address in network for network in self._allow)
        return "is this machine" if not allowed and self._is_own(address) else ""
