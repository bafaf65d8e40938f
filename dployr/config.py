"""Where the command line finds its server and token: options, then DPLOYR_SERVER and DPLOYR_TOKEN, then the file.

The file holds one token per server, and which server was signed in to last. A stored token is sent to its own server
only.
"""

import dataclasses
import json
import os
import pathlib
import urllib.parse

from dployr import atomic
from dployr.errors import ConfigError

DEFAULT_SERVER = "http://127.0.0.1:8080"


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """The content of the file: the default server, and server → token."""

    server: str = ""
    tokens: tuple[tuple[str, str], ...] = ()


def default_path() -> pathlib.Path:
    import platformdirs

    return platformdirs.user_config_path("dployr") / "credentials.json"


def load(path: pathlib.Path) -> Credentials:
    """What the file holds; nothing when there is none. Raises ConfigError for one that cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(str(value["server"]), tuple((str(k), str(v)) for k, v in value["tokens"].items()))
    except FileNotFoundError:
        return Credentials()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"cannot read the stored sign-in {path} ({error}); remove it and run `dployr login`"
        ) from error


def store(path: pathlib.Path, server: str, token: str) -> None:
    """Keep `token` for `server`, and make that server the default."""
    _write(path, server, {**dict(load(path).tokens), server: token})


def forget(path: pathlib.Path, server: str) -> None:
    """Drop the token of `server`; nothing when there is none."""
    stored = load(path)
    tokens = {known: token for known, token in stored.tokens if known != server}
    if len(tokens) != len(stored.tokens):
        _write(path, stored.server, tokens)


def _write(path: pathlib.Path, server: str, tokens: dict[str, str]) -> None:
    try:
        atomic.write_private(path, json.dumps({"server": server, "tokens": tokens}, indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot store the sign-in in {path}: {error.strerror}; use --config FILE") from error


def pick_server(option: str | None, stored: Credentials) -> str:
    """The server to talk to, without a slash at its end."""
    server = option or os.environ.get("DPLOYR_SERVER") or stored.server or DEFAULT_SERVER
    parts = urllib.parse.urlsplit(server)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"cannot use {server!r} as a server: give http://HOST:PORT or https://HOST")
    return server.rstrip("/")


def pick_token(server: str, stored: Credentials) -> str | None:
    """The token for `server`: DPLOYR_TOKEN before the stored one."""
    return os.environ.get("DPLOYR_TOKEN") or dict(stored.tokens).get(server)
