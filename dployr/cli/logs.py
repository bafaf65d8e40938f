"""`dployr logs NAME`."""

import json

import click

from dployr.cli import output
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
    """Print what a service writes."""
    try:
        with session.client() as http, http.services.logs(name, tail=tail, follow=follow) as lines:
            for entry in lines:
                if session.as_json:
                    click.echo(json.dumps(entry))
                else:
                    output.print_log_line(entry)
    except KeyboardInterrupt:
        return  # the ordinary end of following
