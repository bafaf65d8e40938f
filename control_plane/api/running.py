"""What a one-off command writes, to the client: NDJSON, server-sent events or plain text.

The view waits a moment for the first piece, so that a refusal still has a status. Closing the stream ends the command.

What the command wrote is not kept, so an idempotency key cannot bring it back. What the key does promise is that the
command is not started twice: the run is written down under the key before it is started, and a repeat is refused.
"""

import codecs
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import flask

from control_plane import errors
from control_plane.api import answers, commands, context, follow, models_services, streams
from control_plane.domain import values
from control_plane.services import runs, unit

FIRST_PIECE_S = 2.0
Encode = Callable[[models_services.RunPiece], str]


def run(service: str, command: str, timeout: float | str) -> flask.Response:
    """The answer to `POST /v1/services/:id/run`."""
    return streams.counted(lambda: _run(service, command, timeout))


def _run(service: str, command: str, timeout: float | str) -> flask.Response:
    api = context.current()
    opened: list[runs.Begun] = []

    def shape(begun: runs.Begun) -> unit.Answer:
        opened.append(begun)
        return unit.Answer(200, {"run": begun.query.run_id})

    answer, replayed = commands.made(api.services.runs.begin(context.principal(), service, command, timeout), shape)
    if replayed:
        raise _begun_before(answer.body["run"])
    return answers.of_answer(answer, {}) if commands.is_dry_run() else _streamed(api, opened[0])


def _begun_before(run_id: str) -> errors.ConflictError:
    return errors.ConflictError(
        f"cannot run the command again: {run_id} was begun with this idempotency key, and what it wrote is not kept; "
        "see what it did, then take another key to run it again",
        {"run": run_id},
    )


def _streamed(api: context.Api, begun: runs.Begun) -> flask.Response:
    kinds = [follow.NDJSON, follow.EVENTS, follow.PLAIN]
    mimetype = flask.request.accept_mimetypes.best_match(kinds, follow.NDJSON)
    primed = api.call(_primed(api.services.runs.output(begun)))
    chunks = _chunks(primed, mimetype, api.settings.heartbeat_s)
    return streams.respond(chunks, api.call, mimetype if mimetype == follow.NDJSON else f"{mimetype}; charset=utf-8")


async def _primed(output: AsyncIterator[values.RunOutput]) -> streams.Primed[values.RunOutput]:
    primed = streams.Primed(output)
    await primed.start(FIRST_PIECE_S)
    return primed


async def _chunks(
    primed: streams.Primed[values.RunOutput], mimetype: str, heartbeat_s: float
) -> AsyncGenerator[bytes, None]:
    """Bytes for the wire. An error on the way becomes the last line, because the status is out already."""
    encode, beat = FORMATS[mimetype]
    texts = _Texts()
    beats = streams.with_heartbeat(primed, heartbeat_s)
    try:
        async for output in beats:
            text = beat if output is None else "".join(encode(piece) for piece in texts.pieces(output))
            if text:
                yield text.encode()
    except errors.DployrError as error:
        yield follow.last_words(mimetype, error).encode()
    finally:
        await beats.aclose()
        await primed.aclose()


class _Texts:
    """Bytes to text, where a character may be cut in two by the end of a piece."""

    def __init__(self) -> None:
        self._decoders: dict[str, codecs.IncrementalDecoder] = {}

    def pieces(self, output: values.RunOutput) -> list[models_services.RunPiece]:
        if output.outcome:
            rest = [self._piece(stream, b"", final=True) for stream in self._decoders]
            ended = models_services.RunExit(outcome=output.outcome, code=output.code)
            return [*(piece for piece in rest if piece.data), models_services.RunPiece(exit=ended)]
        piece = self._piece(output.stream, output.data)
        return [piece] if piece.data else []

    def _piece(self, stream: str, data: bytes, *, final: bool = False) -> models_services.RunPiece:
        if stream not in self._decoders:
            self._decoders[stream] = codecs.getincrementaldecoder("utf-8")("replace")
        return models_services.RunPiece(stream=stream, data=self._decoders[stream].decode(data, final))


def _json(piece: models_services.RunPiece) -> str:
    return json.dumps(piece.model_dump(exclude_none=True))


def _plain(piece: models_services.RunPiece) -> str:
    if piece.exit is not None:
        return f"[{piece.exit.outcome} {piece.exit.code}]\n"
    return "\n".join(follow.visible(line) for line in (piece.data or "").split("\n"))


FORMATS: dict[str, tuple[Encode, str]] = {
    follow.NDJSON: (lambda piece: _json(piece) + "\n", "\n"),
    follow.EVENTS: (lambda piece: f"data: {_json(piece)}\n\n", ": heartbeat\n\n"),
    follow.PLAIN: (_plain, ""),
}
