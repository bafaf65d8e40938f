"""Public addresses, and the networks that an operator allows besides. Pure; nothing is resolved here."""

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Allow = tuple[Network, ...]

# The list is ours, so that an update of the standard library changes nothing. IPv6 is the other way round: only global
# unicast may be called, less what is embedded or reserved there. NAT64 (64:ff9b::/96) lies outside of it.
DENIED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # a cloud's own services, on an address that looks public
        "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
    )
)  # fmt: skip
GLOBAL_V6 = ipaddress.ip_network("2000::/3")


def plain(address: Address) -> Address:
    """What is called in truth: an IPv4 address in IPv6 clothes is that IPv4 address. A zone is dropped."""
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or ipaddress.IPv6Address(int(address))
    return address


def is_allowed(address: Address, allow: Allow) -> bool:
    """Does the operator's list hold it?"""
    return any(plain(address) in network for network in allow)


def is_public(address: Address) -> bool:
    address = plain(address)
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_V6:
        return False
    return not any(address in network for network in DENIED)


def first_refused(addresses: Iterable[Address], allow: Allow) -> Address | None:
    """One that must not be called; all count where nobody chooses which one is."""
    return next((one for one in addresses if not is_allowed(one, allow) and not is_public(one)), None)
