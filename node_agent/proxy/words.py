"""nginx's own words, for people who do not know this host's directories."""

import os
import pathlib

MAX_LOG = 1 << 20
MAX_WORDS = 600


def of(text: str, directory: pathlib.Path) -> str:
    """What stopped nginx, in one line, without our paths; the whole text when it says so in no known form."""
    lines = [line.partition("[emerg] ")[2] for line in text.splitlines() if "[emerg] " in line]
    told = list(dict.fromkeys(_without_number(line) for line in lines)) or [text.strip()]
    return " · ".join(told).replace(f"{directory}/", "")[:MAX_WORDS]


def mark(error_log: pathlib.Path) -> int:
    """The end of the log now. One that grew large is emptied first; nginx appends, so it goes on at the start."""
    try:
        size = error_log.stat().st_size
        if size <= MAX_LOG:
            return size
        os.truncate(error_log, 0)
    except OSError:
        pass  # no log yet
    return 0


def since(error_log: pathlib.Path, mark: int) -> str:
    """What was logged after `mark`."""
    try:
        with error_log.open("rb") as file:
            file.seek(mark)
            return file.read(MAX_LOG).decode(errors="replace")
    except OSError:
        return ""


def _without_number(line: str) -> str:
    """Without the `pid#thread: ` that nginx puts before."""
    head, separator, rest = line.partition(": ")
    return rest if separator and "#" in head and head.replace("#", "").isdigit() else line
