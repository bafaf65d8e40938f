"""`dployr login`, and `dployr auth login|status|logout`."""

import contextlib
import pathlib

import click

from dployr import client, config
from dployr.cli import failures
from dployr.cli.session import Session
from dployr.errors import ApiError, ConfigError, Unreachable


@click.command()
@click.option("--server", metavar="URL", help="The server to sign in to; later commands use it too.")
@click.option("--email", help="Asked for when not given.")
@click.option("--password-file", type=click.Path(path_type=pathlib.Path), metavar="FILE", help="Else it is asked for.")
@click.pass_obj
def login(session: Session, server: str | None, email: str | None, password_file: pathlib.Path | None) -> None:
    """Sign in to a server."""
    address = config.pick_server(server, config.load(session.config_path)) if server else session.server
    email = email or click.prompt("Email")
    password = _read(password_file) if password_file else click.prompt("Password", hide_input=True)
    with client.Client(address) as http:
        answer = http.login(email, password)
    tokens = config.Tokens(str(answer["access_token"]), str(answer["refresh_token"]))
    config.store(session.config_path, address, tokens)
    click.echo(f"signed in to {address} as {email}")


@click.group(cls=failures.Group)
def auth() -> None:
    """Sign in, sign out, and see where."""


auth.add_command(login)


@auth.command()
@click.pass_obj
def status(session: Session) -> None:
    """Say which server is used, and whether its token works."""
    with session.client() as http:
        if http.token is None:
            raise ConfigError(f"not signed in to {http.base_url}; run `dployr login`")
        me = http.me()
    click.echo(f"signed in to {session.server} as {me['email']}")


@auth.command()
@click.pass_obj
def logout(session: Session) -> None:
    """End this sign-in on the server, and forget its stored token."""
    with session.client() as http:
        if http.refresh_token is not None:
            with contextlib.suppress(ApiError, Unreachable):  # forgotten it is in any case
                http.logout()
    config.forget(session.config_path, session.server)
    click.echo(f"signed out of {session.server}")


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the password file {path}: {error}") from error
