"""What every command shares: the global options, and from them a client for the right server."""

import pathlib
from collections.abc import Callable
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

    def client(self) -> client.Client:
        """A client for the server, signed in when a token is known. Close it."""
        stored = config.load(self.config_path)
        server = config.pick_server(self._server, stored)
        return client.Client(server, config.pick_token(server, stored))


def json_option(command: F) -> F:
    """`--json` after the command too, where people write it."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value and context.obj is not None:
            context.obj.as_json = True

    option = click.option("--json", is_flag=True, expose_value=False, callback=remember, help="Print JSON.")
    return option(command)
