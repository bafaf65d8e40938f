"""`dployr deploy`: create a deployment or change it, from git or a directory, and follow its release to the end."""

import pathlib
from typing import Any

import click

from dployr import client, errors
from dployr.cli import follow, get, output
from dployr.cli.session import Session, json_option

NOT_FOUND = 404
OF_GIT = ("remote", "git_host_key", "submodules", "branch", "commit")


@click.command()
@click.argument("directory", required=False, type=click.Path(path_type=pathlib.Path))
@click.option("--name", required=True, help="An existing one is changed where told, and deployed again.")
@click.option("--project")
@click.option("--source", type=click.Choice(["remote", "local", "image", "docker"]))
@click.option("--remote", help="https:// (or ssh) address of a git repository.")
@click.option("--git-host-key", help="Public key of the ssh server, such as ssh-ed25519 AAAA…")
@click.option("--submodules/--no-submodules", default=None, help="Fetch those of the repository too.")
@click.option("--branch")
@click.option("--commit", help="Instead of the head of the branch.")
@click.option("--runtime", help="nodejs, python, static, …")
@click.option("--version", help="Of the runtime.")
@click.option("--build-cmd")
@click.option("--run-cmd")
@click.option("--working-dir", help="The application's directory in the repository.")
@click.option("--static-dir", help="What a static site serves.")
@click.option("--port", type=click.IntRange(1, 65535), help="The declared port; the app listens on $PORT.")
@click.option("--env", "-e", multiple=True, metavar="KEY=VALUE", help="Repeat for more.")
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    metavar="NAME:MOUNT",
    help="A directory that outlives releases; repeat for more. Replaces those that were declared.",
)
@click.option(
    "--cron", multiple=True, metavar="NAME=SCHEDULE COMMAND", help="Such as 'tidy=*/5 * * * * ./tidy'. In UTC."
)
@click.option("--health-path", help="Must answer 2xx or 3xx before a release goes live.")
@click.option("--domain", help="Send this domain to the service.")
@click.option("--no-follow", is_flag=True, help="Return when it is accepted.")
@click.option("--timeout", default=900.0, show_default=True, help="Seconds to follow.")
@json_option
@click.pass_obj
def deploy(
    session: Session,
    /,
    directory: pathlib.Path | None,
    domain: str | None,
    no_follow: bool,
    timeout: float,
    **options: Any,
) -> None:
    """Create or change a deployment; ends when its release is live, and the domain leads to it (0), or failed (1).

    With DIRECTORY, what is in it is the source: all but what .gitignore and .dployrignore name.
    """
    fields = fields_of(options)
    with session.client() as http:
        found = apply(http, fields) if directory is None else upload(http, fields, directory, quiet=session.as_json)
        route = _route(http, found, domain) if domain else None
        if not no_follow:
            follow.follow(http, str(found["id"]), int(found["release"]), timeout=timeout, quiet=session.as_json)
            if route:
                follow.follow_route(http, str(route["id"]))
        found = http.deployments.get(str(found["id"]))
    if session.as_json:
        output.print_json(found)
    else:
        get.show(found)


def fields_of(options: dict[str, Any]) -> dict[str, Any]:
    """The API's fields of what was given on the command line."""
    fields = {key: value for key, value in options.items() if value not in (None, ())}
    if "env" in fields:
        fields["env"] = dict(_pair(text) for text in fields["env"])
    if "volumes" in fields:
        fields["volumes"] = [_volume(text) for text in fields["volumes"]]
    if "cron" in fields:
        fields["cron"] = dict(_entry(text) for text in fields["cron"])
    if "health_path" in fields:
        fields["health_check"] = {"kind": "http", "path": fields.pop("health_path")}
    return fields


def upload(
    http: client.Client, fields: dict[str, Any], directory: pathlib.Path, *, quiet: bool = False
) -> dict[str, Any]:
    """Create or change, and deploy what is in `directory`. Nothing is changed when it cannot be packed."""
    import tempfile

    from dployr.packing import archive

    of_git = [f"--{name.replace('_', '-')}" for name in OF_GIT if name in fields]
    if of_git or fields.get("source", "local") != "local":
        raise click.UsageError(f"a directory is the source here: leave {', '.join(of_git) or '--source'} out")
    with tempfile.TemporaryFile() as file:
        packed = archive.pack(directory, file)
        if not quiet:
            click.echo(f"packed {packed.entries} entries, {packed.bytes / 1e6:.1f} MB", err=True)
        for path in packed.skipped:
            click.echo(f"left out {output.clean(path)}: it is no file, directory or link", err=True)
        found = _declared(http, {**fields, "source": "local"})
        return http.deployments.source(str(found["id"]), archive.pieces(file), "application/gzip")


def _declared(http: client.Client, fields: dict[str, Any]) -> dict[str, Any]:
    """Create or change, so that the source may come."""
    old = _find(http, fields["name"])
    if old is None:
        return http.deployments.create(**fields)
    changes = {key: value for key, value in fields.items() if key != "name" and old.get(key) != value}
    return http.deployments.update(str(old["id"]), **changes) if changes else old


def _find(http: client.Client, name: str) -> dict[str, Any] | None:
    try:
        return http.deployments.get(name)
    except errors.ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return None


def apply(http: client.Client, fields: dict[str, Any]) -> dict[str, Any]:
    """Create or change; what is declared like this already is deployed again, from what its branch is now."""
    old = _find(http, fields["name"])
    if old is None:
        return http.deployments.create(**{"source": "remote", **fields})
    changes = {key: value for key, value in fields.items() if key != "name"}
    changed = http.deployments.update(str(old["id"]), **changes) if changes else old
    return changed if changed["release"] != old["release"] else http.deployments.redeploy(str(old["id"]))


def _route(http: client.Client, found: dict[str, Any], domain: str) -> dict[str, Any]:
    """The route that sends `domain` to the service, made unless it is there."""
    service_id = found["service_id"]
    for route in http.routes.list():
        if (route["domain"], route["service_id"]) == (domain.lower(), service_id):
            return route
    return http.routes.create(domain, service_id, int(found["port"]))


def _volume(text: str) -> dict[str, str]:
    name, sign, mount = text.partition(":")
    if not sign or not name or not mount:
        raise click.BadParameter(f"{text!r} is not NAME:MOUNT, such as data:data", param_hint="--volume")
    return {"name": name, "mount": mount}


def _entry(text: str) -> tuple[str, dict[str, str]]:
    """The schedule is five words, or one that begins with @."""
    name, sign, rest = text.partition("=")
    count = 1 if rest.lstrip().startswith("@") else 5
    words = rest.split(None, count)
    if not sign or not name or len(words) <= count:
        raise click.BadParameter(f"{text!r} is not NAME=SCHEDULE COMMAND", param_hint="--cron")
    return name, {"schedule": " ".join(words[:count]), "command": words[count]}


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE", param_hint="--env")
    return key, value
