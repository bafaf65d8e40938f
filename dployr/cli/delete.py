"""`dployr delete NAME`."""

import time

import click

from dployr import client, errors
from dployr.cli.session import Session

POLL_S = 0.5
NOT_FOUND = 404


@click.command()
@click.argument("name")
@click.option("--wait", is_flag=True, help="Until its processes, routes and files are gone.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait.")
@click.pass_obj
def delete(session: Session, name: str, wait: bool, timeout: float) -> None:
    """Delete a deployment with its service, its routes and its volumes.

    What its volumes hold is gone then: `dployr volume backup` keeps it.
    """
    with session.client() as http:
        found = http.deployments.get(name)
        http.deployments.delete(str(found["id"]))
        if wait:
            _wait(http, str(found["id"]), name, time.monotonic() + timeout)
    click.echo(f"{name} is deleted" if wait else f"{name} is being deleted")


def _wait(http: client.Client, deployment_id: str, name: str, deadline: float) -> None:
    while True:
        try:
            http.deployments.get(deployment_id)
        except errors.ApiError as error:
            if error.status == NOT_FOUND:
                return
            raise
        if time.monotonic() > deadline:
            raise errors.DployrError(f"{name} is still being deleted; see `dployr get {name}`")
        time.sleep(POLL_S)
