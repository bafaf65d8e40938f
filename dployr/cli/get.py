"""`dployr get NAME`."""

from typing import Any

import click

from dployr.cli import output
from dployr.cli.session import Session, json_option


@click.command()
@click.argument("name")
@json_option
@click.pass_obj
def get(session: Session, name: str) -> None:
    """Show one deployment."""
    with session.client() as http:
        found = http.deployments.get(name)
    if session.as_json:
        output.print_json(found)
    else:
        show(found)


def show(found: dict[str, Any]) -> None:
    """A deployment as people read it."""
    names = ("name", "id", "status", "status_reason", "release", "live_release", "runtime", "version", "commit")
    facts: list[tuple[str, object]] = [(name.replace("_", " "), found.get(name)) for name in names]
    facts += [("deploy key", found["deploy_key"])] if found.get("deploy_key") else []
    facts += [
        (f"cron {name}", f"{entry['schedule']}  {entry['command']}")
        for name, entry in (found.get("cron") or {}).items()
    ]
    facts += [("url", url) for url in found.get("urls") or []]
    output.print_facts(facts)
