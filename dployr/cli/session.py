"""What every command shares: the global options, and from them a client for the right server."""

import contextlib
import fcntl
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from dployr import client, config
from dployr.cli import output

F = TypeVar("F", bound=Callable[..., Any])


class Session:
    """The global options of one run."""

    def __init__(
        self, server: str | None, config_file: str | None, *, as_json: bool = False, verbose: bool = False
    ) -> None:
        self._server = server
        self._config_file = config_file
        self.as_json = as_json
        self.verbose = verbose

    @property
    def config_path(self) -> pathlib.Path:
        return pathlib.Path(self._config_file) if self._config_file else config.default_path()

    @property
    def server(self) -> str:
        return config.pick_server(self._server, config.load(self.config_path))

    @contextlib.contextmanager
    def client(self) -> Iterator[client.Client]:
        """A client for the server, signed in when tokens are known. Renewed tokens are stored at once."""
        stored = config.load(self.config_path)
        server = config.pick_server(self._server, stored)
        tokens = config.pick_tokens(server, stored)
        access, refresh = (tokens.access, tokens.refresh) if tokens else (None, None)
        with client.Client(server, access, refresh_token=refresh) as http:
            http.keeper = _Kept(self.config_path, server) if refresh else None
            yield http

    def tell(self, answer: dict[str, Any], sentence: str) -> None:
        """What was done: for people a sentence, for programs the server's answer."""
        if self.as_json:
            output.print_json(answer)
        else:
            click.echo(sentence)


class _Kept:
    """The file of the sign-in as what commands that run at the same time share. See client.Keeper."""

    def __init__(self, path: pathlib.Path, server: str) -> None:
        self._path = path
        self._server = server

    @contextlib.contextmanager
    def locked(self) -> Iterator[tuple[str, str | None] | None]:
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = config.load(self._path).tokens.get(self._server)
            yield (kept.access, kept.refresh) if kept else None

    def keep(self, access: str, refresh: str | None) -> None:
        config.store(self._path, self._server, config.Tokens(access, refresh))


def json_option(command: F) -> F:
    """`--json` after the command too, where people write it."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and context.obj is not None:
            context.obj.as_json = True

    option = click.option("--json", is_flag=True, expose_value=False, callback=remember, help="Print JSON.")
    return option(command)
