"""`dployr volume list|backup|restore`."""

import pathlib
import zlib
from collections.abc import Iterator
from typing import IO

import click

from dployr import errors
from dployr.cli import failures, output
from dployr.cli.session import Session, json_option

PIECE = 256 << 10
GZIP = 31  # zlib's word for a gzip stream


@click.group(cls=failures.Group)
def volume() -> None:
    """Directories of an application that outlive its releases."""


@volume.command("list")
@click.argument("app")
@json_option
@click.pass_obj
def list_(session: Session, app: str) -> None:
    """Show the volumes of APP."""
    with session.client() as http:
        found = list(http.volumes.list(app))
    if session.as_json:
        output.print_json(found)
    else:
        columns = ("name", "mount", "variable")
        output.print_table(columns, [[one[column] for column in columns] for one in found], empty="no volumes")


@volume.command()
@click.argument("app")
@click.argument("name")
@click.option("--output", "-o", "file", required=True, type=click.Path(dir_okay=False, path_type=pathlib.Path))
@click.pass_obj
def backup(session: Session, app: str, name: str, file: pathlib.Path) -> None:
    """Write the content of the volume NAME of APP to a .tar.gz file.

    The file appears when it is whole. The application may run meanwhile; stop it first when its files must fit together.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        with session.client() as http, http.volumes.backup(app, name) as pieces, part.open("wb") as target:
            size = _write(pieces, target)
        part.replace(file)
    except OSError as error:
        raise errors.DployrError(f"cannot write {file}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"{name} of {app} is in {file}, {size / 1e6:.1f} MB")


@volume.command()
@click.argument("app")
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@json_option
@click.pass_obj
def restore(session: Session, app: str, name: str, file: pathlib.Path) -> None:
    """Replace the content of the volume NAME of APP by that of FILE, a .tar.gz, .tar.zst or .zip.

    APP must be stopped. All of the file is restored, or nothing is changed.
    """
    with session.client() as http, file.open("rb") as source:
        found = http.volumes.restore(app, name, iter(lambda: source.read(PIECE), b""))
    if session.as_json:
        output.print_json(found)
    else:
        click.echo(f"{name} of {app} is restored; start it with `dployr service start {app}`")


def _write(pieces: Iterator[bytes], target: IO[bytes]) -> int:
    """How much was written. Raises DployrError unless it is one whole gzip stream."""
    size, reader = 0, zlib.decompressobj(GZIP)
    try:
        for piece in pieces:
            target.write(piece)
            size += len(piece)
            _read(reader, piece)
    except zlib.error as error:
        raise errors.DployrError(f"cannot use what came as a backup: {error}; try again") from error
    if not reader.eof:
        raise errors.DployrError("cannot use what came as a backup: it broke off; try again")
    return size


def _read(reader: "zlib._Decompress", piece: bytes) -> None:
    """A little at a time: a small piece may hold much."""
    while piece:
        reader.decompress(piece, PIECE)
        piece = reader.unconsumed_tail
