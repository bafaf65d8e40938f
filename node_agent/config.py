"""The agent's settings: command line over environment (DPLOYR_AGENT_*) over a YAML file; checked once."""

import argparse
import dataclasses
import ipaddress
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from detection import fields

Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


class SettingsError(Exception):
    """A setting is missing or malformed; the message names the key."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Addresses are HOST:PORT. `join_token_file` is read only while there is no certificate yet.

    `ssh_known_hosts` has the keys of git servers that deployments need not pin; `git_allow` are networks that sources
    may come from although they are not public. `disk_reserve` stays free, `build_disk` is the most
    for one build, `cache_disk` for what can be fetched again: bytes, None where nothing is said.
    """

    data_dir: pathlib.Path
    hub: str
    enrol: str
    proxy_host: str
    proxy_port: int
    join_token_file: pathlib.Path | None = None
    allow_file_remotes: bool = False
    allow_ssh_remotes: bool = False
    ssh_known_hosts: pathlib.Path | None = None
    git_allow: Networks = ()
    disk_reserve: int | None = None
    build_disk: int | None = None
    cache_disk: int | None = None


FLAGS = ("allow_file_remotes", "allow_ssh_remotes")
SIZES = ("disk_reserve", "build_disk", "cache_disk")
KEYS = ("data_dir", "hub", "enrol", "proxy_listen", "join_token_file", "ssh_known_hosts", "git_allow", *SIZES, *FLAGS)


def load(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from arguments, environment and the file of --config. Raises SettingsError."""
    parser = argparse.ArgumentParser(prog="dployr-agent", description="The agent of one host. Other commands: doctor.")
    parser.add_argument("command", choices=["run"], nargs="?", default="run")
    parser.add_argument("--config", type=pathlib.Path, help="YAML file with the keys below")
    for key in KEYS:
        more: dict[str, Any] = {"action": "store_const", "const": "true"} if key in FLAGS else {}
        parser.add_argument("--" + key.replace("_", "-"), **more)
    given = parser.parse_args(argv)
    values = _file(given.config) if given.config else {}
    for key in KEYS:
        value = getattr(given, key) or environment.get("DPLOYR_AGENT_" + key.upper())
        if value:
            values[key] = value
    return _checked(values)


def data_dir(file: pathlib.Path | None, environment: Mapping[str, str] = os.environ) -> pathlib.Path:
    """The one setting that `doctor` wants. Raises SettingsError."""
    values = _file(file) if file else {}
    found = environment.get("DPLOYR_AGENT_DATA_DIR") or values.get("data_dir")
    if not found:
        raise SettingsError("cannot tell where the agent keeps its data: give --config or --data-dir")
    return pathlib.Path(found)


def _file(path: pathlib.Path) -> dict[str, Any]:
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)  # noqa: S506, TID251 - strings only
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError(f"cannot read the settings file {path}: {error}") from error
    if not isinstance(loaded, dict) or set(loaded) - set(KEYS):
        raise SettingsError(f"cannot use the settings file {path}: it is a mapping with the keys {', '.join(KEYS)}")
    return loaded


def _checked(values: Mapping[str, str]) -> Settings:
    missing = [key for key in ("data_dir", "hub", "enrol", "proxy_listen") if not values.get(key)]
    if missing:
        raise SettingsError(f"cannot start the agent: set {', '.join('--' + key.replace('_', '-') for key in missing)}")
    proxy_host, proxy_port = _address("proxy_listen", values["proxy_listen"])
    for key in ("hub", "enrol"):
        _address(key, values[key])
    token = values.get("join_token_file")
    return Settings(
        data_dir=pathlib.Path(values["data_dir"]).absolute(),
        hub=values["hub"],
        enrol=values["enrol"],
        proxy_host=proxy_host,
        proxy_port=proxy_port,
        join_token_file=pathlib.Path(token) if token else None,
        ssh_known_hosts=_known_hosts(values.get("ssh_known_hosts", "")),
        git_allow=_networks(values.get("git_allow", "")),
        disk_reserve=_size("disk_reserve", values),
        build_disk=_size("build_disk", values),
        cache_disk=_size("cache_disk", values),
        **{key: values.get(key, "") in {"true", "1", "yes"} for key in FLAGS},
    )


def _known_hosts(text: str) -> pathlib.Path | None:
    path = pathlib.Path(text).absolute() if text else None
    if path is not None and not path.is_file():
        raise SettingsError(
            f"cannot use ssh_known_hosts={text!r}: it is not a file; make it with ssh-keyscan, and compare"
        )
    return path


def _networks(text: str) -> Networks:
    try:
        return tuple(ipaddress.ip_network(item) for item in text.replace(",", " ").split())
    except ValueError as error:
        raise SettingsError(f"cannot use git_allow={text!r}: write networks such as 10.1.0.0/16: {error}") from None


def _size(key: str, values: Mapping[str, str]) -> int | None:
    """None when nothing is said."""
    text = values.get(key, "")
    try:
        return int(fields.size(0)(text)) if text else None
    except ValueError as error:
        raise SettingsError(f"cannot use {key}={text!r}: it {error}") from None


def _address(key: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"cannot use {key}={text!r}: write HOST:PORT")
    return host.strip("[]"), int(port)
