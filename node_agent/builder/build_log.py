"""The builder's own lines in a release's build log: what was decided and why, before and after the commands' output."""

import os
import pathlib

MAX_LINE = 2000


class BuildLog:
    """Appends to the same file as the build job does; the supervisor's indexer picks the lines up."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path

    def write(self, line: str) -> None:
        """One line. Never raises: a log that cannot be written (the disk is full) must not hide the real error."""
        text = "".join(char if char.isprintable() else " " for char in f"==> {line}"[:MAX_LINE])
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._path, flags, 0o600)
        except OSError:
            return
        try:
            os.write(descriptor, f"{text}\n".encode(errors="replace"))
        except OSError:
            return
        finally:
            os.close(descriptor)
