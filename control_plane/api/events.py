"""`/v1/events`: what happened, in pages, or as it happens."""

import json
from collections.abc import AsyncGenerator, Sequence

import flask
from flask_openapi.blueprint import APIBlueprint

from control_plane import errors
from control_plane.api import access, answers, context, follow, models_history, standing, streams
from control_plane.domain import paging, values

blueprint = APIBlueprint("events", __name__, url_prefix="/v1/events", abp_tags=[{"name": "events"}])


@blueprint.get("", responses={200: models_history.EventPage})
@access.permission("event:read")
def index(query: models_history.EventsQuery) -> flask.Response:
    """List what happened, oldest first; with `follow` what happens from now on.

    `since` goes on behind a time or an event, in a page as in a stream. Events of a project are for its members, those of
    the installation for operators.
    """
    last = follow.last_event()
    if query.follow and flask.request.method != "HEAD":
        return streams.counted(lambda: _followed(query, last))
    api = context.current()
    page = api.call(
        api.services.history.events(
            context.principal(), query.type, query.subject, query.since, query.project, query.cursor, query.limit
        )
    )
    data = [models_history.EventShape.of(event) for event in page.items]
    return answers.of(models_history.EventPage(data=data, next_cursor=page.next_cursor))


def _followed(query: models_history.EventsQuery, last: str) -> flask.Response:
    api = context.current()
    since = last or _resumed(query)
    reader = api.call(api.services.history.open(context.principal(), query.type, query.subject, since, query.project))
    source = api.services.history.follow(reader, standing.of_caller())
    mimetype = follow.accepted()
    chunks = _chunks(source, mimetype, api.settings.heartbeat_s)
    return streams.respond(chunks, api.call, follow.content_type(mimetype))


def _resumed(query: models_history.EventsQuery) -> str | None:
    """Where to begin: the cursor of a page says where it ended."""
    behind = paging.decode_number(query.cursor)
    return query.since if behind is None else str(behind)


async def _chunks(
    source: AsyncGenerator[Sequence[values.Event], None], mimetype: str, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """Bytes for the wire. An error on the way becomes the last line, because the status is out already."""
    beats = streams.with_heartbeat(source, heartbeat_s)
    try:
        async for batch in beats:
            text = follow.FORMATS[mimetype][1] if batch is None else "".join(LINES[mimetype](one) for one in batch)
            if text:
                yield text.encode()
    except errors.DployrError as error:
        yield follow.last_words(mimetype, error).encode()
    finally:
        await beats.aclose()
        await source.aclose()


def _json(event: values.Event) -> str:
    return json.dumps(models_history.EventShape.of(event).model_dump(mode="json"))


def _plain(event: values.Event) -> str:
    shape = models_history.EventShape.of(event)
    said = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in shape.data.items())
    return follow.visible(f"{shape.timestamp} {shape.type} {shape.subject} {said}".rstrip()) + "\n"


LINES = {
    follow.NDJSON: lambda event: _json(event) + "\n",
    follow.EVENTS: lambda event: f"id: {event.sequence}\nevent: {event.type}\ndata: {_json(event)}\n\n",
    follow.PLAIN: _plain,
}
