"""`dployr disk [INSTANCE]`: what uses the disk of a host."""

from typing import Any

import click

from dployr.cli import output
from dployr.cli.session import Session, json_option

UNITS = ("KiB", "MiB", "GiB", "TiB")
COLUMNS = ("service", "part", "size", "files")


@click.command()
@click.argument("instance", required=False)
@json_option
@click.pass_obj
def disk(session: Session, instance: str | None) -> None:
    """Show what uses the disk of a host; without INSTANCE of the only one."""
    with session.client() as http:
        found = http.instances.disk(instance or _only([one["name"] for one in http.instances.list()]))
    if session.as_json:
        output.print_json(found)
        return
    space = found["space"]
    output.print_facts(
        [
            ("free", f"{size(space['free_bytes'])} of {size(space['total_bytes'])}"),
            ("free inodes", f"{space['free_inodes']} of {space['total_inodes']}" if space["total_inodes"] else ""),
            ("kept for the host", f"{size(space['reserve_bytes'])} and {space['reserve_inodes']} inodes"),
            ("measured", found["measured_at"] or "not yet; ask again in a minute"),
        ]
    )
    output.print_table(COLUMNS, rows(found), empty="nothing was measured yet")


def rows(found: dict[str, Any]) -> list[list[object]]:
    """Each part of each service and what they share, the largest owners first; what is empty is left out."""
    owners: list[tuple[str | None, dict[str, Any]]] = [(None, found["shared"])]
    owners += [(one["name"] or one["id"], one["parts"]) for one in found["services"]]
    owners.sort(key=lambda owner: -sum(use["bytes"] for use in owner[1].values()))
    return [
        [name, part, size(use["bytes"]), use["entries"]]
        for name, parts in owners
        for part, use in sorted(parts.items(), key=lambda item: -item[1]["bytes"])
        if use["bytes"]
    ]


def size(count: int) -> str:
    """Bytes for people."""
    value, unit = float(count), "bytes"
    for larger in UNITS:
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.0f} bytes" if unit == "bytes" else f"{value:.1f} {unit}"


def _only(names: list[str]) -> str:
    if len(names) != 1:
        known = ", ".join(names) or "there is none yet"
        raise click.UsageError(f"cannot tell which host is meant: name one of {known}")
    return names[0]
