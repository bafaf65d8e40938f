"""What every command shares: the global options, and from them a client for the right server."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from dployr import client, config

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
        """A client for the server, signed in when tokens are known. Renewed tokens are stored."""
        stored = config.load(self.config_path)
        server = config.pick_server(self._server, stored)
        tokens = config.pick_tokens(server, stored)
        access, refresh = (tokens.access, tokens.refresh) if tokens else (None, None)
        with client.Client(server, access, refresh_token=refresh) as http:
            try:
                yield http
            finally:
                if http.token and http.refresh_token and http.token != access:
                    config.store(self.config_path, server, config.Tokens(http.token, http.refresh_token))


def json_option(command: F) -> F:
    """`--json` after the command too, where people write it."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and context.obj is not None:
            context.obj.as_json = True

    option = click.option("--json", is_flag=True, expose_value=False, callback=remember, help="Print JSON.")
    return option(command)
