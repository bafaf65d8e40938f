"""`dployr release list|diff|pin|unpin NAME`, `dployr rollback NAME` and `dployr cancel NAME`."""

import click

from dployr.cli import failures, follow, get, output
from dployr.cli.session import Session, json_option

COLUMNS = ("number", "state", "cause", "commit", "created_at", "pinned")
SHORT = 12  # digits of a commit that people read
TO_LIVE_S = 1800.0


@click.group(cls=failures.Group)
def release() -> None:
    """Look at what was rolled out, and keep what you may go back to."""


@release.command("list")
@click.argument("name")
@json_option
@click.pass_obj
def list_(session: Session, name: str) -> None:
    """List the releases of a deployment, newest first."""
    with session.client() as http:
        found = list(http.deployments.releases(name))
    if session.as_json:
        output.print_json(found)
        return
    shown = [
        {**one, "commit": str(one["commit"])[:SHORT], "pinned": "pinned" if one["pinned"] else ""} for one in found
    ]
    output.print_table(COLUMNS, [[one[column] for column in COLUMNS] for one in shown], empty="no releases")


@release.command()
@click.argument("name")
@click.argument("old", type=int)
@click.argument("new", type=int)
@json_option
@click.pass_obj
def diff(session: Session, name: str, old: int, new: int) -> None:
    """What differs between two releases."""
    with session.client() as http:
        found = http.deployments.diff(name, old, new)
    if session.as_json:
        output.print_json(found)
        return
    rows = [("commit", *(str(commit)[:SHORT] for commit in found["commits"]))]
    rows += [(change["field"], change["from"], change["to"]) for change in found["changes"]]
    different = [row for row in rows if row[1] != row[2] or row[0] != "commit"]
    output.print_table(("field", str(old), str(new)), different, empty="nothing differs")


@release.command()
@click.argument("name")
@click.argument("number", type=int)
@json_option
@click.pass_obj
def pin(session: Session, name: str, number: int) -> None:
    """Keep a release that was live for good, with its build."""
    with session.client() as http:
        session.tell(http.deployments.pin(name, number), f"release {number} of {name} is kept")


@release.command()
@click.argument("name")
@click.argument("number", type=int)
@json_option
@click.pass_obj
def unpin(session: Session, name: str, number: int) -> None:
    """Let a release go in its time, as others do."""
    with session.client() as http:
        session.tell(http.deployments.unpin(name, number), f"release {number} of {name} goes in its time")


@click.command()
@click.argument("name")
@click.argument("number", type=int, required=False)
@click.option("--timeout", type=float, default=TO_LIVE_S, show_default=True, help="Seconds to wait until it is live.")
@json_option
@click.pass_obj
def rollback(session: Session, name: str, number: int | None, timeout: float) -> None:
    """Go back to release NUMBER, or to the one that was live before, without a build; wait until it is live."""
    with session.client() as http:
        found = http.deployments.rollback(name, number)
        follow.follow(http, str(found["id"]), found["release"], timeout=timeout, quiet=True)
        found = http.deployments.get(str(found["id"]))
    if session.as_json:
        output.print_json(found)
    else:
        get.show(found)


@click.command()
@click.argument("name")
@json_option
@click.pass_obj
def cancel(session: Session, name: str) -> None:
    """Give up the release that is under way; what serves goes on."""
    with session.client() as http:
        found = http.deployments.cancel(name)
    session.tell(found, f"release {found['release']} of {name} is cancelled")
