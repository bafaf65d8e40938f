"""`dployr down`."""

import click

from dployr.cli.up import directory, say


@click.command()
@click.option("--data-dir", metavar="DIR", help="What was given to `dployr up`.")
def down(data_dir: str | None) -> None:
    """End everything on this machine: applications, nginx and the daemons. Data is kept."""
    from dployr.stack.down import down as end_all

    end_all(directory(data_dir), say)
