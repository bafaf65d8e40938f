"""Addresses that users choose and we call: what they may look like, and where they may lead. Pure; nothing is resolved.

Text is no proof: many spellings name one address. So every spelling of a literal is read as resolvers read it, and what
counts is the address. What a name leads to is checked at each call, with `address_issue`, by delivery/guard.py.
"""

import dataclasses
import ipaddress
import re
import unicodedata

from addresses.public import Address, Allow, is_allowed, is_public, plain
from control_plane import errors

PORTS = {"https": 443, "http": 80}
MAX_URL = 2048
MAX_HOST = 253

URL = re.compile(r"(?P<scheme>[A-Za-z]+)://(?P<authority>[^/?#\\]*)(?P<target>[/?].*)?", re.DOTALL)
AUTHORITY = re.compile(r"(\[(?P<v6>[^\[\]]*)\]|(?P<name>[^\[\]:]+))(:(?P<port>[0-9]{1,5}))?")
TARGET = re.compile(r"/[A-Za-z0-9._~:/?@!$&'()*+,;=%\[\]-]*")
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")

LOOPBACK = ipaddress.ip_address("127.0.0.1")


@dataclasses.dataclass(frozen=True, slots=True)
class Url:
    """A checked address. `host` is the name in ASCII, or the literal in its one right spelling, without brackets."""

    scheme: str
    host: str
    port: int
    target: str
    literal: Address | None

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def check_url(text: str, allow: Allow = ()) -> Url:
    """`text` taken apart, when it can be called as far as it shows without resolving; else InvalidError on "url"."""
    url = parse_url(text)
    if not allow and url.port not in PORTS.values():
        raise refused(f"port {url.port} is not allowed, only 443 and 80")
    if url.literal and (issue := address_issue(url.literal, url.port, allow)):
        raise refused(f"{url.host} {issue}")
    if is_local_name(url.host) and address_issue(LOOPBACK, url.port, allow):
        raise refused(f"{url.host} is this machine")
    return url


def address_issue(address: Address, port: int, allow: Allow) -> str:
    """Why `address` may not be called on `port`, "" when it may. Inside the allow-list any port may."""
    address = plain(address)
    if is_allowed(address, allow):
        return ""
    if not is_public(address):
        return "is not a public address"
    return "" if port in PORTS.values() else f"may not be called on port {port}, only on 443 and 80"


def parse_url(text: str) -> Url:
    if len(text) > MAX_URL:
        raise refused(f"it is longer than {MAX_URL} characters")
    found = URL.fullmatch(text)
    if found is None or found["scheme"].lower() not in PORTS:
        raise refused("it must begin with https:// or http:// and hold no #fragment")
    if "@" in unicodedata.normalize("NFKC", found["authority"]):
        raise refused("it must not hold credentials; receivers check the signature")
    authority = AUTHORITY.fullmatch(found["authority"])
    if authority is None:
        raise refused("it must name a host, or a host and a port")
    target = found["target"] or "/"
    target = target if target.startswith("/") else "/" + target
    if not TARGET.fullmatch(target):
        raise refused("the path holds characters that must be percent-encoded")
    scheme = found["scheme"].lower()
    port = int(authority["port"] or PORTS[scheme])
    if not 1 <= port <= 65535:
        raise refused("the port must be from 1 to 65535")
    host, literal = _host(authority["name"], authority["v6"])
    return Url(scheme, host, port, target, literal)


def parse_v4(text: str) -> ipaddress.IPv4Address | None:
    """An IPv4 address as inet_aton reads it: one to four numbers, each decimal, octal or hexadecimal, the last wide."""
    parts = text.split(".")
    if len(parts) > 4 or not all(NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *head, last = [_number(part) for part in parts]
    except ValueError:
        return None
    if any(number > 255 for number in head) or last >= 256 ** (4 - len(head)):
        return None
    value = last
    for position, number in enumerate(head):
        value |= number << (24 - 8 * position)
    return ipaddress.IPv4Address(value)


def is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def refused(issue: str) -> errors.InvalidError:
    """The address itself is not repeated: it may hold credentials, and messages are logged."""
    return errors.InvalidError.field(
        f"cannot send webhooks there: {issue}; use a public address such as https://example.com/webhook", "url", issue
    )


def _host(name: str | None, v6: str | None) -> tuple[str, Address | None]:
    if name is None:
        literal = _parse_v6(v6 or "")
        return str(literal), literal
    host = _ascii(name)
    labels = host.split(".")
    if NUMBER.fullmatch(labels[-1]):  # resolvers take it for an address, or for nothing
        v4 = parse_v4(host)
        if v4 is None:
            raise refused("its host is neither a name nor an address")
        return str(v4), v4
    if len(host) > MAX_HOST or not all(LABEL.fullmatch(label) for label in labels):
        raise refused("its host is neither a name nor an address")
    return host, None


def _parse_v6(text: str) -> Address:
    try:
        if "%" in text:
            raise ValueError("a zone")
        return plain(ipaddress.IPv6Address(text))
    except ValueError:
        raise refused("its host is not an IPv6 address") from None


def _ascii(name: str) -> str:
    try:
        folded = unicodedata.normalize("NFKC", name).lower().encode("idna").decode("ascii")
    except UnicodeError:
        raise refused("its host is neither a name nor an address") from None
    return folded.lower().removesuffix(".")


def _number(text: str) -> int:
    if text[:2].lower() == "0x":
        return int(text[2:] or "0", 16)
    return int(text, 8) if text.startswith("0") else int(text)
