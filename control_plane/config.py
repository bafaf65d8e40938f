"""The settings of the control plane: a YAML file, then DPLOYR_* of the environment, then flags. Checked once.

Every value arrives as text, whatever its source, and is typed here; an error names the key and where it came from.
"""

import dataclasses
import ipaddress
import pathlib
import re
import urllib.parse
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import yaml

PREFIX = "DPLOYR_"
MAX_FILE = 64 * 1024
HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
STORAGES = ("redis", "rediss", "valkey", "valkeys")
SECRET = frozenset({"rate_limit_storage"})  # settings whose value is never printed

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class ConfigError(Exception):
    """A setting cannot be used. The message names the key, the source and what would be right."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Port 0 means any free one. `proxy_url` is where browsers reach the managed proxy; limits are for an hour.

    With `local_instance` the control plane is ready only while an instance is online.
    `public_hub_address` (host or host:port) is what agents on other machines dial; empty means `hub_host`.
    `base_url` is where people and git hosts reach the API; empty means the address that it listens on.
    Webhooks go to public addresses on ports 443 and 80, and to `webhook_allow` on any port.
    `rate_limit_storage` may hold a password: it is never shown. `max_source_bytes` bounds an uploaded source,
    `max_project_source_bytes` those of a project together, and `max_streams` what one user may follow at a time.
    A release fails when one of its states takes longer than `release_timeout_s`, or, while its instance is away or its
    source is missing, longer than `release_waiting_s`.
    """

    data_dir: pathlib.Path
    api_host: str = "127.0.0.1"
    api_port: int = 8080
    hub_host: str = "127.0.0.1"
    hub_port: int = 8443
    enrol_port: int = 8444
    public_hub_address: str = ""
    admin_email: str = ""
    admin_password_file: pathlib.Path | None = None
    join_token_file: pathlib.Path | None = None
    allow_file_remotes: bool = False
    allow_ssh_remotes: bool = False
    proxy_url: str = "http://127.0.0.1:8081"
    trusted_hops: int = 0
    rate_limit_user: int = 1000
    rate_limit_anonymous: int = 60
    rate_limit_storage: str = dataclasses.field(default="memory://", repr=False)
    max_source_bytes: int = 512 << 20
    max_project_source_bytes: int = 20 << 30
    max_streams: int = 500
    local_instance: bool = False
    webhook_allow: Networks = ()
    base_url: str = ""
    release_timeout_s: int = 45 * 60
    release_waiting_s: int = 24 * 3600

    @property
    def database(self) -> pathlib.Path:
        return self.data_dir / "control-plane.db"

    @property
    def public_url(self) -> str:
        """`base_url`, or what it is without a proxy in front."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return self.base_url or f"http://{host}:{self.api_port}"


def load(
    file: pathlib.Path | None, environment: Mapping[str, str], overrides: Mapping[str, Any] | None = None
) -> Settings:
    """The settings from all sources, the later ones first: `overrides` (None counts as not given), then the rest.

    Raises ConfigError, also for a key that does not exist.
    """
    found: dict[str, tuple[str, str]] = {}
    if file is not None:
        found |= {key: (text, f"in {file}") for key, text in read_file(file).items()}
    variables = {PREFIX + key.upper(): key for key in PARSERS}
    found |= {
        key: (environment[name], f"in {name}") for name, key in variables.items() if environment.get(name, "") != ""
    }
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    found |= {key: (_text(value), "on the command line") for key, value in given.items()}
    return _settings(found)


def read_file(file: pathlib.Path) -> dict[str, str]:
    """Keys and texts of a YAML mapping: no nesting, no aliases, no key twice. Raises ConfigError."""
    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_FILE + 1)
        if len(raw) > MAX_FILE:
            raise ConfigError(f"cannot read {file}: it is larger than {MAX_FILE} bytes")
        content = yaml.load(raw, _StrictLoader)  # noqa: TID251, S506 — this is the one loader, on BaseLoader: text only
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}; give another file with --config") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    if not content:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"cannot read {file}: it must hold `key: value` lines")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigError(f"cannot use {key!r} in {file}: its value must be one text")
    return content


class _StrictLoader(yaml.BaseLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = next((key for number, key in enumerate(keys) if key in keys[:number]), None)
        if twice is not None:
            raise yaml.YAMLError(f"the key {twice!r} stands there twice")
        return super().construct_mapping(node, deep=deep)


def _settings(found: Mapping[str, tuple[str, str]]) -> Settings:
    typed: dict[str, Any] = {}
    for key, (text, source) in found.items():
        if key not in PARSERS:
            raise ConfigError(f"cannot use {key!r} {source}: no such setting; there are {', '.join(sorted(PARSERS))}")
        try:
            typed[key] = PARSERS[key](text)
        except ValueError as error:
            shown = "***" if key in SECRET else repr(text)
            raise ConfigError(f"cannot use {key} = {shown} {source}: {error}") from None
    if "data_dir" not in typed:
        raise ConfigError(f"cannot start: data_dir is missing; set it in the file, as {PREFIX}DATA_DIR or --data-dir")
    return Settings(**typed)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _path(text: str) -> pathlib.Path:
    if not text or "\0" in text:
        raise ValueError("must be a path")
    return pathlib.Path(text).expanduser().absolute()


def _optional_path(text: str) -> pathlib.Path | None:
    return _path(text) if text else None


def _host(text: str) -> str:
    if not HOST.fullmatch(text):
        raise ValueError("must be a host name or an address")
    return text


def _optional_host(text: str) -> str:
    return _host(text) if text else ""


def split_address(address: str) -> tuple[str, int]:
    """HOST or HOST:PORT as a pair; port 0 when there is none. An IPv6 address has none."""
    host, sign, port = address.rpartition(":")
    return (host, int(port)) if sign and ":" not in host and port.isdigit() else (address, 0)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _flag(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError("must be true or false")
    return words[text.lower()]


def _url(text: str) -> str:
    parts = urllib.parse.urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("must be an address such as http://127.0.0.1:8081")
    if parts.port == 0:
        raise ValueError("must not have port 0")
    return text.rstrip("/")


def _optional_url(text: str) -> str:
    return _url(text) if text else ""


def _networks(text: str) -> Networks:
    try:
        return tuple(ipaddress.ip_network(item) for item in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"must be networks such as 10.1.0.0/16, separated by commas: {error}") from None


def _storage(text: str) -> str:
    wanted = f"must be memory:// or an address such as redis://host:6379/0 ({', '.join(STORAGES)})"
    try:
        parts = urllib.parse.urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None  # its own words hold the text
    if text == "memory://":
        return text
    if parts.scheme not in STORAGES or not parts.hostname or port == 0 or parts.query or parts.fragment:
        raise ValueError(wanted)
    if not re.fullmatch(r"(/[0-9]{0,5})?", parts.path):
        raise ValueError("must end with the number of a database, such as /0")
    return text


PARSERS: dict[str, Callable[[str], Any]] = {
    "data_dir": _path,
    "api_host": _host,
    "api_port": _whole(0, 65535),
    "hub_host": _host,
    "hub_port": _whole(0, 65535),
    "enrol_port": _whole(0, 65535),
    "public_hub_address": _optional_host,
    "admin_email": str,
    "admin_password_file": _optional_path,
    "join_token_file": _optional_path,
    "allow_file_remotes": _flag,
    "allow_ssh_remotes": _flag,
    "proxy_url": _url,
    "trusted_hops": _whole(0, 10),
    "rate_limit_user": _whole(1, 999_999_999),
    "rate_limit_anonymous": _whole(1, 999_999_999),
    "rate_limit_storage": _storage,
    "max_source_bytes": _whole(1 << 20, 999_999_999_999),
    "max_project_source_bytes": _whole(1 << 20, 999_999_999_999),
    "max_streams": _whole(1, 999_999),
    "local_instance": _flag,
    "webhook_allow": _networks,
    "base_url": _optional_url,
    "release_timeout_s": _whole(60, 999_999_999),
    "release_waiting_s": _whole(60, 999_999_999),
}
