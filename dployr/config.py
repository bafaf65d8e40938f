"""Where the command line finds its server and token: options, then DPLOYR_SERVER and DPLOYR_TOKEN, then the file.

The file holds one token per server, and which server was signed in to last. A stored token is sent to its own server
only.
"""

import dataclasses
import json
import os
import pathlib
import urllib.parse
from collections.abc import Mapping

from dployr import atomic
from dployr.errors import ConfigError

DEFAULT_SERVER = "http://127.0.0.1:8080"


@dataclasses.dataclass(frozen=True, slots=True)
class Tokens:
    """What a server gave at the sign-in; `refresh` buys a new `access` when that has expired."""

    access: str
    refresh: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Credentials:
    """The content of the file: the default server, and the tokens by server."""

    server: str = ""
    tokens: Mapping[str, Tokens] = dataclasses.field(default_factory=dict)


def default_path() -> pathlib.Path:
    import platformdirs

    return platformdirs.user_config_path("dployr") / "credentials.json"


def load(path: pathlib.Path) -> Credentials:
    """What the file holds; nothing when there is none. Raises ConfigError for one that cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        tokens = {server: Tokens(str(one["access"]), one.get("refresh")) for server, one in value["tokens"].items()}
        return Credentials(str(value["server"]), tokens)
    except FileNotFoundError:
        return Credentials()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"cannot read the stored sign-in {path} ({error}); remove it and run `dployr login`"
        ) from error


def store(path: pathlib.Path, server: str, tokens: Tokens) -> None:
    """Keep `tokens` for `server`, and make that server the default."""
    _write(path, Credentials(server, {**load(path).tokens, server: tokens}))


def forget(path: pathlib.Path, server: str) -> None:
    """Drop the tokens of `server`; nothing when there are none."""
    stored = load(path)
    if server in stored.tokens:
        _write(path, Credentials(stored.server, {k: v for k, v in stored.tokens.items() if k != server}))


def _write(path: pathlib.Path, credentials: Credentials) -> None:
    try:
        atomic.write_private(path, json.dumps(dataclasses.asdict(credentials), indent=2) + "\n")
    except OSError as error:
        raise ConfigError(f"cannot store the sign-in in {path}: {error.strerror}; use --config FILE") from error


def pick_server(option: str | None, stored: Credentials) -> str:
    """The server to talk to, without a slash at its end."""
    server = option or os.environ.get("DPLOYR_SERVER") or stored.server or DEFAULT_SERVER
    parts = urllib.parse.urlsplit(server)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigError(f"cannot use {server!r} as a server: give http://HOST:PORT or https://HOST")
    return server.rstrip("/")


def pick_tokens(server: str, stored: Credentials) -> Tokens | None:
    """The tokens for `server`: DPLOYR_TOKEN before the stored ones."""
    given = os.environ.get("DPLOYR_TOKEN")
    return Tokens(given) if given else stored.tokens.get(server)
