"""The command line: one command per file, thin, on the client that users may import. Exit codes stand in `failures`."""

import click

from dployr.cli import (
    auth,
    delete,
    deploy,
    detect,
    disk,
    down,
    env,
    failures,
    get,
    instances,
    list_,
    logs,
    proxy,
    release,
    run,
    service,
    session,
    up,
    volume,
)


@click.group(cls=failures.Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--server", metavar="URL", help="The server to talk to (DPLOYR_SERVER).")
@click.option("--config", "config_file", metavar="FILE", help="Where sign-ins are stored.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, also after a command.")
@click.option("--verbose", "-v", is_flag=True, help="Show error codes and request ids.")
@click.version_option(package_name="dployr")
@click.pass_context
def dployr(context: click.Context, server: str | None, config_file: str | None, as_json: bool, verbose: bool) -> None:
    """Your own servers, with the feel of a managed platform and without containers."""
    context.obj = session.Session(server, config_file, as_json=as_json, verbose=verbose)


for command in (
    *(
        up.up,
        down.down,
        auth.login,
        auth.auth,
        deploy.deploy,
        detect.detect,
        list_.list_,
        get.get,
        delete.delete,
        logs.logs,
    ),
    *(release.release, release.rollback, release.cancel, run.run),
    *(service.service, env.env, volume.volume, proxy.proxy, instances.instances, instances.instance, disk.disk),
):
    dployr.add_command(command)


def main() -> None:
    """The entry point."""
    dployr.main(prog_name="dployr")
