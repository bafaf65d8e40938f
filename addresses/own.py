"""Addresses of this very machine, as its kernel knows them."""

import socket

from addresses.public import Address


def is_own(address: Address) -> bool:
    """Whether `address` is one of this machine's: the kernel would then speak from it to it. Nothing is sent."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return str(probe.getsockname()[0]) == str(address)
    except OSError:
        return False  # no way there, so it is not here
