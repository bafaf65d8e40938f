"""`dployr list`."""

import click

from dployr.cli import output
from dployr.cli.session import Session, json_option


@click.command("list")
@click.option("--project", help="Only this project.")
@json_option
@click.pass_obj
def list_(session: Session, project: str | None) -> None:
    """List deployments."""
    with session.client() as http:
        found = list(http.deployments.list(project=project))
    if session.as_json:
        output.print_json(found)
        return
    rows = [(d["name"], d["status"], d.get("live_release"), d.get("runtime"), d.get("urls")) for d in found]
    output.print_table(
        ("name", "status", "live", "runtime", "urls"), rows, empty="no deployments yet; make one with `dployr deploy`"
    )
