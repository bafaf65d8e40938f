"""`dployr service start|stop|restart|status NAME`."""

from typing import Any

import click

from dployr.cli import failures, output
from dployr.cli.session import Session, json_option


@click.group(cls=failures.Group)
def service() -> None:
    """Start, stop and look at what runs."""


@service.command()
@click.argument("name")
@json_option
@click.pass_obj
def start(session: Session, name: str) -> None:
    """Start a stopped service."""
    with session.client() as http:
        session.tell(http.services.start(name), f"{name} is starting")


@service.command()
@click.argument("name")
@json_option
@click.pass_obj
def stop(session: Session, name: str) -> None:
    """Stop a service; its releases and routes are kept."""
    with session.client() as http:
        session.tell(http.services.stop(name), f"{name} is stopping")


@service.command()
@click.argument("name")
@json_option
@click.pass_obj
def restart(session: Session, name: str) -> None:
    """Restart a service, new processes first."""
    with session.client() as http:
        session.tell(http.services.restart(name), f"{name} is restarting")


@service.command()
@click.argument("name")
@json_option
@click.pass_obj
def status(session: Session, name: str) -> None:
    """Show status, health and processes."""
    with session.client() as http:
        found = http.services.status(name)
    if session.as_json:
        output.print_json(found)
    else:
        _show(found)


def _show(found: dict[str, Any]) -> None:
    names = ("name", "desired", "status", "health", "live_release", "message")
    output.print_facts([(name.replace("_", " "), found.get(name)) for name in names])
    columns = ("name", "state", "pid", "port", "release", "restarts")
    rows = [[process.get(column) for column in columns] for process in found.get("processes") or []]
    output.print_table(columns, rows, empty="no processes")
