"""`dployr run NAME -- COMMAND`: its output and its exit code are those of the command."""

import shlex
import sys
from typing import Any

import click

from dployr import errors
from dployr.cli import failures
from dployr.cli.session import Session

TIMEOUT, CANNOT_START, SIGNALLED = 124, 127, 128  # as shells and timeout(1) say it
LAST = 255


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("name")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--timeout", type=float, metavar="SECONDS", help="End it after so long.")
@click.pass_context
def run(context: click.Context, name: str, command: tuple[str, ...], timeout: float | None) -> None:
    """Run a command once in the environment of what is live: `dployr run web -- python manage.py shell`.

    One argument is taken as it is, with all that a shell does; of several each is one word.
    """
    session: Session = context.obj
    text = command[0] if len(command) == 1 else shlex.join(command)
    ended: dict[str, Any] | None = None
    with session.client() as http, http.services.run(name, text, timeout) as pieces:
        for piece in pieces:
            ended = piece.get("exit") or ended
            click.echo(piece.get("data") or "", nl=False, err=piece.get("stream") == "stderr")
            sys.stdout.flush()
    if ended is None:
        raise errors.DployrError("the stream broke off; whether the command ended is not known, see `dployr logs`")
    context.exit(_exit_code(ended))


def _exit_code(ended: dict[str, Any]) -> int:
    match ended["outcome"]:
        case "exited":
            return int(ended["code"])
        case "signalled":
            return min(SIGNALLED + int(ended["code"]), LAST)
        case "timeout":
            click.echo("dployr: the command did not end in time, and was ended", err=True)
            return TIMEOUT
        case "start_failed":
            click.echo("dployr: the command could not be started; see that it is in the release", err=True)
            return CANNOT_START
        case other:
            click.echo(f"dployr: the command was {other}", err=True)
            return failures.FAILED
