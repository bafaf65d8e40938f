"""How this daemon's log looks: one line for each event, whose values are escaped, and plain tracebacks.

The library's own default prints the local variables of every frame of a traceback: passwords and tokens among them.
"""

import re
import sys
import traceback
from typing import Any, TextIO

import structlog

UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
MARK = "    | "


def configure() -> None:
    """Once, before anything is logged."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=write_traceback),
        ],
    )


def write_traceback(stream: TextIO, info: Any) -> None:
    """The frames without their variables. Every line is marked, so that no text in it can pass for an event."""
    lines = "".join(traceback.format_exception(*info)).rstrip("\n").split("\n")
    stream.write("\n".join(["", *(MARK + UNPRINTABLE.sub(_escaped, line) for line in lines)]))


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
