"""`dployr service start|stop|restart|status NAME` and `dployr service scale NAME worker=3`."""

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
@click.argument("counts", nargs=-1, required=True, metavar="PROCESS=COUNT...")
@json_option
@click.pass_obj
def scale(session: Session, name: str, counts: tuple[str, ...]) -> None:
    """Set how often processes run, as in web=2 worker=3. Nothing is built; the others stay as they are."""
    wanted = _counts(counts)
    changes: dict[str, Any] = {}
    web = wanted.pop("web", None)
    if web is not None:
        changes["replicas"] = web
    if wanted:
        changes["process_replicas"] = wanted
    with session.client() as http:
        session.tell(http.services.update(name, **changes), f"{name} is scaled to {' '.join(counts)}")


@service.command()
@click.argument("name")
@json_option
@click.pass_obj
def status(session: Session, name: str) -> None:
    """Show status, health, processes and cron entries."""
    with session.client() as http:
        found = http.services.status(name)
    if session.as_json:
        output.print_json(found)
    else:
        _show(found)


def _counts(words: tuple[str, ...]) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in words:
        name, _, count = word.partition("=")
        if not name or name in found or not (count.isascii() and count.isdigit() and len(count) < 6):
            raise click.UsageError(f"cannot read {word!r}: give each process once, as in worker=3")
        found[name] = int(count)
    return found


def _show(found: dict[str, Any]) -> None:
    names = ("name", "desired", "status", "health", "live_release", "message")
    output.print_facts([(name.replace("_", " "), found.get(name)) for name in names])
    columns = ("name", "state", "pid", "port", "release", "restarts")
    rows = [[process.get(column) for column in columns] for process in found.get("processes") or []]
    output.print_table(columns, rows, empty="no processes")
    if entries := found.get("cron"):
        told = ("schedule", "next_at", "last_started_at", "last_outcome")
        rows = [[f"cron.{entry.get('name')}", *map(entry.get, told)] for entry in entries]
        output.print_table(("name", *told), rows, empty="")
