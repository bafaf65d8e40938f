"""Logs to clients: a JSON page, or a stream of lines as NDJSON, server-sent events or plain text.

A follow view opens the log and waits a moment for its first batch, so that an error still has a status; then its
thread is free and the loop pumps the stream.
"""

import collections
import json
import re
import unicodedata
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import flask

from control_plane import errors
from control_plane.api import answers, context, models_logs, schemas, streams
from control_plane.api.errors import ANSWERS
from control_plane.domain import release, values

Batch = Sequence[values.LogLine]
Format = Callable[[values.LogLine], str]

NDJSON = "application/x-ndjson"
EVENTS = "text/event-stream"
PLAIN = "text/plain"
LAST_EVENT = re.compile(r"[0-9]{1,18}")
FIRST_BATCH_S = 0.5
RELEASE_POLL_S = 1.0
MAX_PAGE_BYTES = 8 << 20  # written in one go, on the loop
LINE_BYTES = 1 << 10  # what a line costs us whatever its text; an empty one is not free
BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


def service_log(service: str, query: schemas.LogsQuery) -> flask.Response:
    """The answer to `/v1/services/:id/logs`."""
    options, last = query.options(), last_event()
    if not _is_followed(query):
        return _page(service, options)
    return streams.counted(lambda: _followed(service, _resumed(options, last), None))


def release_log(deployment: str, number: int, query: schemas.BuildLogsQuery) -> flask.Response:
    """The build log of one release; followed, it ends a moment after the release has."""
    api, principal, last = context.current(), context.principal(), last_event()
    api.call(api.services.deployments.release(principal, deployment, number))  # 404 for a number that does not exist
    view = api.call(api.services.deployments.get(principal, deployment))
    service: str = view.deployment.service_id
    options = {**query.options(), "source": "build", "release": number}
    if not _is_followed(query):
        return _page(service, options)

    async def is_finished() -> bool:
        try:
            found = await api.services.deployments.release(principal, view.deployment.id, number)
        except errors.NotFoundError:
            return True
        return release.parse(found.state) not in release.UNFINISHED

    return streams.counted(lambda: _followed(service, _resumed(options, last), is_finished))


def _is_followed(query: schemas.BuildLogsQuery) -> bool:
    return query.follow and flask.request.method != "HEAD"  # a HEAD has no body to stream


def _resumed(options: dict[str, Any], last: str) -> dict[str, Any]:
    return {**options, "after_seq": int(last)} if last else options


def last_event() -> str:
    """Where a browser that lost its event stream was: a number, empty for one that begins. InvalidError.

    What is no number is refused: a stream from now on would leave out what the reader asked for.
    """
    last = flask.request.headers.get("Last-Event-ID", "").strip()
    if last and not LAST_EVENT.fullmatch(last):
        issue = "must be the id of the last event that arrived, a number"
        raise errors.InvalidError.field("cannot resume the stream", "Last-Event-ID", issue)
    return last


def _page(service: str, options: dict[str, Any]) -> flask.Response:
    """The last lines, or those behind a cursor; `next_cursor` is behind the last of them, None without any."""
    api = context.current()
    opening = api.services.logs.open(context.principal(), service, follow=False, **options)
    lines = api.call(_first(opening, options["tail"]) if options["after_seq"] else _newest(opening))
    following = str(max(lines[-1].seq, lines[-1].gap_to)) if lines else None
    return answers.of(models_logs.LogPage(data=[models_logs.log_line(line) for line in lines], next_cursor=following))


async def _newest(opening: Awaitable[AsyncIterator[Batch]]) -> Sequence[values.LogLine]:
    """All lines of a log that ends; the newest of them when they are too much for one answer, whatever an agent sends."""
    source = await opening
    lines: collections.deque[values.LogLine] = collections.deque()
    size = 0
    async for batch in source:
        for line in batch:
            lines.append(line)
            size += len(line.line) + LINE_BYTES
            while size > MAX_PAGE_BYTES:
                size -= len(lines.popleft().line) + LINE_BYTES
    return lines


async def _first(opening: Awaitable[AsyncIterator[Batch]], most: int) -> Sequence[values.LogLine]:
    """At most so many lines from the beginning, and no more than fit into one answer: the next page goes on there."""
    source = await opening
    lines: list[values.LogLine] = []
    size = 0
    try:
        async for batch in source:
            for line in batch:
                size += len(line.line) + LINE_BYTES
                if len(lines) >= most or (lines and size > MAX_PAGE_BYTES):
                    return lines
                lines.append(line)
    finally:
        await streams.close(source)
    return lines


def _followed(
    service: str, options: dict[str, Any], is_finished: Callable[[], Awaitable[bool]] | None
) -> flask.Response:
    api = context.current()
    mimetype = accepted()
    primed = api.call(_primed(api.services.logs.open(context.principal(), service, follow=True, **options)))
    batches = primed if is_finished is None else _until(primed, is_finished)
    chunks = _chunks(batches, primed, mimetype, api.settings.heartbeat_s)
    return streams.respond(chunks, api.call, content_type(mimetype))


def accepted() -> str:
    """The form of a stream that the client likes best."""
    return flask.request.accept_mimetypes.best_match([NDJSON, EVENTS, PLAIN], NDJSON)


def content_type(mimetype: str) -> str:
    return mimetype if mimetype == NDJSON else f"{mimetype}; charset=utf-8"


async def _primed(opening: Awaitable[AsyncIterator[Batch]]) -> streams.Primed[Batch]:
    primed = streams.Primed(await opening)
    await primed.start(FIRST_BATCH_S)
    return primed


async def _until(
    source: AsyncIterator[Batch], is_finished: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[Batch, None]:
    """`source` until it was quiet for a whole poll after `is_finished` said yes: by then its tail is delivered."""
    finished = False
    beats = streams.with_heartbeat(source, RELEASE_POLL_S)
    try:
        async for batch in beats:
            if batch is not None:
                yield batch
            elif finished:
                return
            else:
                finished = await is_finished()
    finally:
        await beats.aclose()


async def _chunks(
    batches: AsyncIterator[Batch], primed: streams.Primed[Batch], mimetype: str, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """Bytes for the wire. An error on the way becomes the last line, because the status is out already.

    Closes `primed` itself too: a generator between them that never ran would not.
    """
    line_of, beat = FORMATS[mimetype]
    beats = streams.with_heartbeat(batches, heartbeat_s)
    try:
        async for batch in beats:
            text = beat if batch is None else "".join(line_of(line) for line in batch)
            if text:
                yield text.encode()
    except errors.DployrError as error:
        yield last_words(mimetype, error).encode()
    finally:
        await beats.aclose()
        await primed.aclose()


def last_words(mimetype: str, error: errors.DployrError) -> str:
    body = {"code": ANSWERS[error.kind][1], "message": error.message, "details": error.details}
    if mimetype == PLAIN:
        return f"[log ended: {visible(error.message)}]\n"
    data = json.dumps({"error": body})
    return f"event: error\ndata: {data}\n\n" if mimetype == EVENTS else data + "\n"


def _json(line: values.LogLine) -> str:
    return json.dumps(models_logs.log_line(line).model_dump(mode="json", by_alias=True))


def _event(line: values.LogLine) -> str:
    return f"id: {line.gap_to or line.seq}\ndata: {_json(line)}\n\n"


def _plain(line: values.LogLine) -> str:
    if line.gap_to:
        return f"[lines {line.seq} to {line.gap_to} are lost]\n"
    return visible(line.line.decode("utf-8", "replace")) + "\n"


def visible(text: str) -> str:
    """`text` for a terminal: control characters and those that reorder text are shown, not obeyed."""
    return "".join(
        character
        if character == "\t" or (unicodedata.category(character) != "Cc" and character not in BIDI)
        else character.encode("unicode_escape").decode()
        for character in text
    )


# How a line looks, and what keeps a quiet stream alive; plain text has no comments, so nothing.
FORMATS: dict[str, tuple[Format, str]] = {
    NDJSON: (lambda line: _json(line) + "\n", "\n"),
    EVENTS: (_event, ": heartbeat\n\n"),
    PLAIN: (_plain, ""),
}
