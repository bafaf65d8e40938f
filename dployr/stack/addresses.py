"""HOST:PORT on the command line, and whether it can be had."""

import dataclasses
import socket

from dployr.errors import StackError

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where to ask a listener that listens everywhere


@dataclasses.dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def reachable(self) -> "Address":
        """The address at which this machine itself reaches the listener."""
        return Address(ANYWHERE.get(self.host, self.host), self.port)

    def url(self) -> str:
        return f"http://{self.reachable()}"

    def is_free(self) -> bool:
        """Whether a listener could start here now."""
        try:
            family = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.host, self.port))
                probe.listen(1)
        except OSError:
            return False
        return True


def parse(text: str, option: str) -> Address:
    """An Address of HOST:PORT; StackError names the option."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise StackError(f"cannot use {option} {text!r}: write HOST:PORT, such as 127.0.0.1:8080")
    return Address(host.strip("[]"), int(port))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
