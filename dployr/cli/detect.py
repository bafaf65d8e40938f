"""`dployr detect`: what a directory would be deployed as, and why. Talks to no server."""

import pathlib
from typing import Any

import click

from dployr import errors
from dployr.cli import output
from dployr.cli.session import Session, json_option


@click.command()
@click.argument("directory", default=".", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--working-dir", default="", help="The application's directory in it.")
@click.option("--runtime", default="", help="As if this was asked for.")
@json_option
@click.pass_obj
def detect(session: Session, directory: pathlib.Path, working_dir: str, runtime: str) -> None:
    """Show what DIRECTORY would be deployed as: each value, where it comes from, and why. Nothing is deployed.

    Ends with 1 when the runtime or the start command stays open.
    """
    from detection import manifest, source

    request = {name: value for name, value in (("working_dir", working_dir), ("runtime", runtime)) if value}
    try:
        seen = source.decide(directory, request)
    except NotADirectoryError as error:
        raise errors.ConfigError(f"cannot look at {error}: it is no directory inside {directory}") from error
    except (manifest.ManifestError, OSError) as error:
        raise errors.ConfigError(str(error)) from error
    found = _shown(seen)
    if session.as_json:
        output.print_json(found)
    else:
        _print(found)
    if found["open"]:
        raise click.exceptions.Exit(1)


def _shown(seen: Any) -> dict[str, Any]:
    """The decision as an object. `seen` is a source.Seen; that is imported only when it is needed."""
    decision = seen.decision
    values = {name: {"value": one.value, "source": one.origin, "reason": one.reason} for name, one in decision.rows()}
    settings = {
        name: value
        for name, value in seen.said.values.items()
        if name.partition(".")[0] in {"env", "health_check", "resources", "process_replicas", "volumes", "cron"}
    }
    return {
        "values": values,
        "settings": settings,
        "manifest": seen.said.file or None,
        "notes": list(decision.notes),
        "open": [name for name in decision.open if name != "run" or not seen.said.keys_of("cron")],
    }


def _print(found: dict[str, Any]) -> None:
    output.print_facts(
        [(name, f"{one['value'] or '—'}  ({one['source']}: {one['reason']})") for name, one in found["values"].items()]
    )
    output.print_facts([(name, f"{value}  (file: {found['manifest']})") for name, value in found["settings"].items()])
    for note in found["notes"]:
        click.echo(f"note: {output.clean(note)}")
    if found["open"]:
        click.echo(f"still open: {', '.join(found['open'])}")
