"""`dployr logs NAME`."""

import json
import time
from collections.abc import Iterator
from typing import Any

import click

from dployr import client, errors
from dployr.cli import output, retrying
from dployr.cli.session import Session, json_option


@click.command()
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C.")
@click.option(
    "--tail", default=100, show_default=True, type=click.IntRange(0, 5000), help="Begin with this many lines."
)
@json_option
@click.pass_obj
def logs(session: Session, name: str, follow: bool, tail: int) -> None:
    """Print what a service writes. While following, a server that is away for a while is waited for."""
    try:
        with session.client() as http:
            for entry in _entries(http, name, tail, follow=follow):
                if session.as_json:
                    click.echo(json.dumps(entry))
                else:
                    output.print_log_line(entry)
    except KeyboardInterrupt:
        return  # the ordinary end of following


def _entries(http: client.Client, name: str, tail: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The lines and gaps, each number once: a stream that breaks is asked for again behind the last one."""
    seen, silent_since, opened = 0, 0.0, False
    while True:
        try:
            with http.services.logs(name, tail=tail, after_seq=seen or None, follow=follow) as lines:
                opened, silent_since = True, 0.0
                for entry in lines:
                    seen = max(seen, int(entry["gap"]["to"] if "gap" in entry else entry.get("seq", 0)))
                    yield entry
            return
        except (errors.Unreachable, errors.ApiError) as error:
            silent_since = silent_since or time.monotonic()
            is_over = time.monotonic() - silent_since > retrying.PATIENCE_S
            if not follow or not opened or is_over or not retrying.is_temporary(error):
                raise
        time.sleep(retrying.RETRY_S)
