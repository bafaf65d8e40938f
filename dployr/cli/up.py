"""`dployr up`."""

import contextlib
import pathlib

import click


@click.command()
@click.option("--data-dir", metavar="DIR", help="Everything is kept here.  [default: the user's data directory]")
@click.option("--api", default="127.0.0.1:8080", show_default=True, metavar="HOST:PORT", help="API and dashboard.")
@click.option("--proxy", default="127.0.0.1:8081", show_default=True, metavar="HOST:PORT", help="The applications.")
@click.option("--admin-email", default="admin@localhost", show_default=True, help="Of the first admin.")
@click.option("--admin-password-file", metavar="FILE", help="Made and printed once when not given.")
@click.option("--allow-file-remotes", is_flag=True, help="Accept file:// git remotes.")
@click.option("--allow-ssh-remotes", is_flag=True, help="Accept git remotes by ssh, whose server each must name.")
def up(
    data_dir: str | None,
    api: str,
    proxy: str,
    admin_email: str,
    admin_password_file: str | None,
    allow_file_remotes: bool,
    allow_ssh_remotes: bool,
) -> None:
    """Run the whole product on this machine until Ctrl-C; applications keep running after it."""
    from dployr.stack import addresses
    from dployr.stack.up import Settings, Stack

    settings = Settings(
        data_dir=directory(data_dir),
        api=addresses.parse(api, "--api"),
        proxy=addresses.parse(proxy, "--proxy"),
        admin_email=admin_email,
        admin_password_file=pathlib.Path(admin_password_file) if admin_password_file else None,
        allow_file_remotes=allow_file_remotes,
        allow_ssh_remotes=allow_ssh_remotes,
    )
    Stack(settings, say).run()


def directory(option: str | None) -> pathlib.Path:
    """--data-dir, or the place for a user's data."""
    if option:
        return pathlib.Path(option).expanduser().absolute()
    import platformdirs

    return platformdirs.user_data_path("dployr")


def say(line: str) -> None:
    """A line for the person; a terminal that went away must not keep us from ending in order."""
    with contextlib.suppress(OSError):
        click.echo(f"dployr: {line}")
