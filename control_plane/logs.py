"""How this daemon's log looks: one line for each event, whose values are escaped, and plain tracebacks.

The library's own default prints the local variables of every frame of a traceback: passwords and tokens among them.
"""

import sys
import traceback
from typing import Any, TextIO

import structlog

MARK = "    | "


def configure() -> None:
    """Once, before anything is logged."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            escape_values,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=write_traceback),
        ],
    )


def escape_values(_logger: Any, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """What does not print becomes its escape: the renderer quotes texts with blanks and leaves the rest alone."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


def write_traceback(stream: TextIO, info: Any) -> None:
    """The frames without their variables. Every line is marked, so that no text in it can pass for an event."""
    lines = "".join(traceback.format_exception(*info)).rstrip("\n").split("\n")
    stream.write("\n".join(["", *(MARK + printable(line) for line in lines)]))


def printable(text: str) -> str:
    if text.isprintable():  # nearly always
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
