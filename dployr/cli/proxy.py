"""`dployr proxy add|list|remove`: which domain goes to which service."""

import click

from dployr import errors
from dployr.cli import failures, output
from dployr.cli.session import Session, json_option


@click.group(cls=failures.Group)
def proxy() -> None:
    """Send domains to services."""


@proxy.command()
@click.option("--domain", required=True)
@click.option("--service", required=True, help="Name or id.")
@click.option("--port", type=click.IntRange(1, 65535), help="The declared port; found out when not given.")
@json_option
@click.pass_obj
def add(session: Session, domain: str, service: str, port: int | None) -> None:
    """Send a domain to a service."""
    with session.client() as http:
        port = port or int(http.deployments.get(service)["port"])
        made = http.routes.create(domain, service, port)
    if session.as_json:
        output.print_json(made)
    else:
        click.echo(f"{made['domain']} goes to {service}")


@proxy.command("list")
@json_option
@click.pass_obj
def list_(session: Session) -> None:
    """List routes."""
    with session.client() as http:
        found = list(http.routes.list())
    if session.as_json:
        output.print_json(found)
        return
    columns = ("domain", "path", "service_id", "port", "status", "message")
    rows = [[route.get(column) for column in columns] for route in found]
    output.print_table(columns, rows, empty="no routes yet; make one with `dployr proxy add`")


@proxy.command()
@click.option("--domain", required=True)
@click.pass_obj
def remove(session: Session, domain: str) -> None:
    """End every route of a domain."""
    with session.client() as http:
        found = [route for route in http.routes.list() if route["domain"] == domain.lower()]
        if not found:
            raise errors.DployrError(f"cannot remove {domain}: there is no such route; see `dployr proxy list`")
        for route in found:
            http.routes.delete(str(route["id"]))
    click.echo(f"{domain} goes nowhere now")
