"""Where a call may go: every address of the target is checked, and exactly those are what the caller may dial.

Comparing names protects nothing, so nothing here looks at one for long. The answer is good for one call only: the next
one resolves and checks again, because a name may lead elsewhere by then.
"""

import dataclasses
import ipaddress
import socket
from collections.abc import Callable

import structlog

from control_plane import errors
from control_plane.delivery.parts import Resolver
from control_plane.domain import outgoing

log = structlog.get_logger()


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """`addresses` are in the resolver's order, at least one."""

    url: outgoing.Url
    addresses: tuple[outgoing.Address, ...]


def is_own(address: outgoing.Address) -> bool:
    """Whether `address` is one of this machine's: the kernel would then speak from it to it. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return str(probe.getsockname()[0]) == str(address)
    except OSError:
        return False  # no way there, so it is not here


class Guard:
    """`allow` is the operator's list; what it holds may be called on any port, this machine included."""

    def __init__(
        self,
        resolver: Resolver,
        allow: outgoing.Allow = (),
        is_own: Callable[[outgoing.Address], bool] = is_own,
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

    async def _resolve(self, target: outgoing.Url) -> tuple[outgoing.Address, ...]:
        texts = await self._resolver.resolve(target.host, target.port)
        if not texts:
            raise errors.UnavailableError(f"cannot resolve {target.host}: it has no address")
        try:
            return tuple(outgoing.plain(ipaddress.ip_address(text)) for text in texts)
        except ValueError:
            raise outgoing.refused(f"{target.host} leads to what is no address") from None

    def _issue(self, address: outgoing.Address, port: int) -> str:
        if issue := outgoing.address_issue(address, port, self._allow):
            return issue
        allowed = any(address in network for network in self._allow)
        return "is this machine" if not allowed and self._is_own(address) else ""
