"""How failures leave the command line: one sentence on stderr, and an exit code that a script can tell apart.

0 done · 1 the deployment failed, or the server refused · 2 used wrongly · 3 no server, or not signed in.
"""

from typing import Any

import click

from dployr import errors
from dployr.cli import output

FAILED = 1
USAGE = 2
AWAY = 3
UNAUTHORIZED = 401


class Group(click.Group):
    """A group whose commands may raise DployrError."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except errors.DployrError as error:
            verbose = ctx.obj is not None and ctx.obj.verbose
            click.echo(f"dployr: {printable(error, verbose=verbose)}", err=True)
            ctx.exit(exit_code(error))


def exit_code(error: errors.DployrError) -> int:
    if isinstance(error, errors.ConfigError):
        return USAGE
    if isinstance(error, errors.Unreachable) or (isinstance(error, errors.ApiError) and error.status == UNAUTHORIZED):
        return AWAY
    return FAILED


def printable(error: errors.DployrError, *, verbose: bool = False) -> str:
    """The sentence, harmless to a terminal. Only an error of the stack has lines of its own: the ends of logs."""
    text = sentence(error, verbose=verbose)
    lines = text.split("\n") if isinstance(error, errors.StackError) else [text]
    return "\n".join(output.clean(line) for line in lines)


def sentence(error: errors.DployrError, *, verbose: bool = False) -> str:
    """What went wrong and what to do next."""
    text = str(error)
    if not isinstance(error, errors.ApiError):
        return text
    if error.status == UNAUTHORIZED and "dployr login" not in text:
        text += "; run `dployr login`"
    if verbose:
        text += f" [{error.status} {error.code} {error.request_id}]"
    return text
