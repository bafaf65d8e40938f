"""`dployr instances` and `dployr instance ID`."""

import click

from dployr.cli import output
from dployr.cli.session import Session, json_option


@click.command()
@json_option
@click.pass_obj
def instances(session: Session) -> None:
    """List the hosts that run applications."""
    with session.client() as http:
        found = list(http.instances.list())
    if session.as_json:
        output.print_json(found)
        return
    columns = ("id", "name", "status", "last_seen")
    rows = [[one.get(column) for column in columns] for one in found]
    output.print_table(columns, rows, empty="no instances yet; `dployr up` makes this machine one")


@click.command()
@click.argument("name")
@json_option
@click.pass_obj
def instance(session: Session, name: str) -> None:
    """Show one host."""
    with session.client() as http:
        found = http.instances.get(name)
    if session.as_json:
        output.print_json(found)
    else:
        output.print_facts([(key.replace("_", " "), value) for key, value in found.items()])
