"""`dployr env list|set|unset|history SERVICE`."""

import sys
from collections.abc import Sequence

import click

from dployr import client
from dployr.cli import failures, output
from dployr.cli.session import Session, json_option


@click.group(cls=failures.Group)
def env() -> None:
    """Variables and secrets of a service."""


@env.command("list")
@click.argument("service")
@json_option
@click.pass_obj
def list_(session: Session, service: str) -> None:
    """List variables; the values of secrets are not shown."""
    with session.client() as http:
        found = list(http.env.list(service))
    if session.as_json:
        output.print_json(found)
        return
    rows = [(one["key"], "(secret)" if one["secret"] else one["value"]) for one in found]
    output.print_table(("key", "value"), rows, empty="no variables yet; set one with `dployr env set`")


@env.command("set")
@click.argument("service")
@click.argument("variables", metavar="KEY=VALUE...", nargs=-1, required=True)
@click.option("--secret", is_flag=True, help="Write-only from now on.")
@click.option("--next", "later", is_flag=True, help="Take effect with the next release only.")
@json_option
@click.pass_obj
def set_(session: Session, service: str, variables: tuple[str, ...], secret: bool, later: bool) -> None:
    """Set variables; of a KEY alone the value is asked for, or read from standard input."""
    pairs = [_pair(text) for text in variables]
    with session.client() as http:
        done = [
            http.env.set(service, key, value, secret=True if secret else None, apply=_apply(number, pairs, later=later))
            for number, (key, value) in enumerate(pairs)
        ]
    _said(session, done, f"{', '.join(key for key, _ in pairs)} of {service} set", later=later)


@env.command()
@click.argument("service")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@click.option("--next", "later", is_flag=True, help="Take effect with the next release only.")
@json_option
@click.pass_obj
def unset(session: Session, service: str, keys: tuple[str, ...], later: bool) -> None:
    """Delete variables."""
    with session.client() as http:
        for number, key in enumerate(keys):
            http.env.unset(service, key, apply=_apply(number, keys, later=later))
    _said(session, [{"key": key} for key in keys], f"{', '.join(keys)} of {service} deleted", later=later)


@env.command()
@click.argument("service")
@json_option
@click.pass_obj
def history(session: Session, service: str) -> None:
    """Show who set or deleted which variable, newest first."""
    with session.client() as http:
        found = list(http.env.history(service))
    if session.as_json:
        output.print_json(found)
        return
    columns = ("at", "actor", "action", "key", "release")
    output.print_table(columns, [[one[column] for column in columns] for one in found], empty="nothing yet")


def _pair(text: str) -> tuple[str, str]:
    """Key and value. A value that is not written stays out of the list of processes, and of the shell's history."""
    key, equals, value = text.partition("=")
    if equals:
        return key, value
    if sys.stdin.isatty():
        return key, str(click.prompt(key, hide_input=True))
    return key, sys.stdin.readline().rstrip("\n")


def _apply(number: int, all_of_them: Sequence[object], *, later: bool) -> client.Apply:
    """One release for all: the last change makes it."""
    return "next" if later or number < len(all_of_them) - 1 else "now"


def _said(session: Session, answer: list[dict[str, object]], sentence: str, *, later: bool) -> None:
    if session.as_json:
        output.print_json(answer)
    else:
        click.echo(sentence + ("; the next release has it" if later else ""))
