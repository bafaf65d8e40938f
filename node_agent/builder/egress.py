"""The addresses that a fetch may dial. Resolved once, all of them checked, and git is then given exactly those."""

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable

from addresses import public
from addresses.names import Names
from addresses.own import is_own
from node_agent.errors import ReleaseFailedError

LOOKUP_S = 15.0

Resolve = Callable[[str, int], Awaitable[tuple[str, ...]]]


class Egress:
    """`allow` is the operator's list: networks that are not public and may be fetched from all the same."""

    def __init__(self, allow: public.Allow = (), resolve: Resolve | None = None, lookup_s: float = LOOKUP_S) -> None:
        self._allow = allow
        self._lookup_s = lookup_s
        self._resolve = resolve or Names().resolve

    async def checked(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses of `host`, at least one. Raises ReleaseFailedError for one that must not be called."""
        try:
            async with asyncio.timeout(self._lookup_s):
                texts = await self._resolve(host, port)
            addresses = tuple(public.plain(ipaddress.ip_address(text)) for text in texts)
        except (OSError, ValueError, UnicodeError) as error:
            raise _unknown(host) from error
        if not addresses:
            raise _unknown(host)
        if public.first_refused(addresses, self._allow) or any(self._is_refused_own(one) for one in addresses):
            # Which address a name has in here is not for everybody to know.
            raise ReleaseFailedError(
                "remote_refused",
                f"cannot fetch from {host}: it leads to an address that is not public; the operator of this host "
                "allows networks with --git-allow",
            )
        return tuple(map(str, addresses))

    def _is_refused_own(self, address: public.Address) -> bool:
        return not public.is_allowed(address, self._allow) and is_own(address)


def _unknown(host: str) -> ReleaseFailedError:
    return ReleaseFailedError(
        "fetch_failed", f"cannot find the address of {host}: check the remote, and the name service of the host"
    )
