"""The agent's settings: command line over environment (DPLOYR_AGENT_*) over a YAML file; checked once."""

import argparse
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import yaml


class SettingsError(Exception):
    """A setting is missing or malformed; the message names the key."""


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Addresses are HOST:PORT. `join_token_file` is read only while there is no certificate yet."""

    data_dir: pathlib.Path
    hub: str
    enrol: str
    proxy_host: str
    proxy_port: int
    join_token_file: pathlib.Path | None = None
    allow_file_remotes: bool = False


KEYS = ("data_dir", "hub", "enrol", "proxy_listen", "join_token_file", "allow_file_remotes")


def load(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from arguments, environment and the file of --config. Raises SettingsError."""
    parser = argparse.ArgumentParser(prog="dployr-agent", description="The agent of one host. Other commands: doctor.")
    parser.add_argument("command", choices=["run"], nargs="?", default="run")
    parser.add_argument("--config", type=pathlib.Path, help="YAML file with the keys below")
    for key in KEYS[:-1]:
        parser.add_argument("--" + key.replace("_", "-"))
    parser.add_argument("--allow-file-remotes", action="store_const", const="true")
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
        allow_file_remotes=values.get("allow_file_remotes", "") in {"true", "1", "yes"},
    )


def _address(key: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise SettingsError(f"cannot use {key}={text!r}: write HOST:PORT")
    return host.strip("[]"), int(port)
