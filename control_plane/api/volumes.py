"""`/v1/services/:id/volumes`: the directories of a service that outlive its releases, and their content."""

from collections.abc import AsyncGenerator
from typing import Any

import flask
from flask_openapi.blueprint import APIBlueprint
from werkzeug import exceptions as http_errors

from control_plane import errors
from control_plane.api import (
    access,
    answers,
    commands,
    context,
    contract,
    models_volumes,
    mutations,
    schemas,
    streams,
    vocabulary,
)
from control_plane.services import unit, volumes

blueprint = APIBlueprint("volumes", __name__, url_prefix="/v1/services", abp_tags=[{"name": "volumes"}])

FIRST_PIECE_S = 5.0
SLACK_S = 60.0
ARCHIVE: dict[str, Any] = {"content": {vocabulary.BYTES: contract.UPLOADED}}


@blueprint.get("/<id>/volumes", responses={200: models_volumes.VolumeList})
@access.permission("service:read")
def index(path: schemas.ById, query: schemas.Page) -> flask.Response:
    """List the volumes of a service, by name."""
    api = context.current()
    page = api.call(api.services.volumes.list(context.principal(), path.id, query.cursor, query.limit))
    data = [models_volumes.ServiceVolume.of(name, mount) for name, mount in page.items]
    return answers.of(models_volumes.VolumeList(data=data, next_cursor=page.next_cursor))


@blueprint.get("/<id>/volumes/<name>/archive", responses={200: ARCHIVE})
@access.permission("volume:read")
def backup(path: models_volumes.VolumePath) -> flask.Response:
    """Download a volume as a .tar.gz, read while it is sent.

    It is whole when its gzip stream is: an answer that breaks off is no backup. A running service goes on writing meanwhile;
    stop it first when its files must fit together.
    """
    return streams.counted(lambda: _sent(path))


@blueprint.put("/<id>/volumes/<name>/archive", responses={200: models_volumes.ServiceVolume})
@access.permission("volume:write")
@mutations.mutation(dry_run=True)
def restore(path: models_volumes.VolumePath) -> flask.Response:
    """Replace the content of a volume by that of an archive: the body is a .tar.gz, .tar.zst or .zip.

    Only while the service is stopped. All of it, or nothing is changed. The same request with the same `Idempotency-Key`
    again is a 409 that names the run, and nothing is restored twice.
    """
    api, principal = context.current(), context.principal()
    api.call(api.services.volumes.demand_restorable(principal, path.id, path.name))
    if flask.request.mimetype not in vocabulary.ARCHIVE_TYPES:
        raise http_errors.UnsupportedMediaType(f"send one of {', '.join(vocabulary.ARCHIVE_TYPES)}")
    archive = api.services.archives.keep(flask.request.stream)
    try:
        return _restored(path, archive)
    finally:
        api.call(api.services.archives.used(archive))


def _restored(path: models_volumes.VolumePath, archive: str) -> flask.Response:
    api = context.current()
    opened: list[volumes.Begun] = []

    def shape(begun: volumes.Begun) -> unit.Answer:
        opened.append(begun)
        return answers.change(models_volumes.ServiceVolume.of(begun.query.volume, begun.mount))

    work = api.services.volumes.begin_restore(context.principal(), path.id, path.name, archive)
    answer, replayed = commands.made(work, shape, archive)
    if replayed:
        raise errors.ConflictError(
            "cannot restore the volume again: it was begun with this idempotency key; look at what the volume holds, then "
            "take another key to restore it again"
        )
    if not commands.is_dry_run():
        api.call(api.services.volumes.restore(opened[0]), volumes.RESTORE_S + SLACK_S)
    return answers.of_answer(answer, {})


def _sent(path: models_volumes.VolumePath) -> flask.Response:
    api = context.current()
    begun = api.call(api.services.volumes.begin_backup(context.principal(), path.id, path.name))
    primed: streams.Primed[bytes] = streams.Primed(api.services.volumes.backup(begun))
    api.call(_started(primed))
    if flask.request.method == "HEAD":
        api.call(primed.aclose())
        return flask.Response(content_type=vocabulary.BYTES)
    return streams.respond(_chunks(primed), api.call, vocabulary.BYTES)


async def _started(primed: streams.Primed[bytes]) -> None:
    """What fails at once has a status."""
    try:
        await primed.start(FIRST_PIECE_S)
    except errors.ConflictError as error:  # of the moment alone: somebody else is at it
        raise errors.UnavailableError(str(error)) from error


async def _chunks(primed: streams.Primed[bytes]) -> AsyncGenerator[bytes, None]:
    """What fails on the way breaks the answer off: nobody shall take a part for the whole."""
    try:
        async for piece in primed:
            yield piece
    finally:
        await primed.aclose()
