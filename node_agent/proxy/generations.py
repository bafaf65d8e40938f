"""The generations on disk: `generations/<N>/` is a whole configuration, `current` points to the one nginx runs on.

`change.json` stands there while a change is under way, so that a crash can be finished or undone.
"""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping

import failpoints
from node_agent import atomic

KEEP = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A change under way. Absent is the state before the first and after the last step."""

    before: int
    after: int


class Generations:
    """Blocking file work below the proxy's directory; nobody else writes there but nginx (logs, pid, sockets)."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._all = root / "generations"
        self._current = root / "current"
        self._change = root / "change.json"

    def prepare(self) -> None:
        """Make the directories and delete what an interrupted `stage` left. Raises OSError."""
        self._all.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._all.chmod(0o711)  # nginx may have a user of its own, who passes to what the supervisor lets it read
        for left in self._all.glob(".*.new"):
            shutil.rmtree(left)

    def directory(self, generation: int) -> pathlib.Path:
        return self._all / str(int(generation))

    def numbers(self) -> list[int]:
        """Oldest first."""
        return sorted(int(entry.name) for entry in self._all.iterdir() if entry.name.isdigit())

    def current(self) -> int | None:
        """The generation that nginx is to run on; None when there is none or its directory is gone."""
        try:
            name = self._current.readlink().name
        except OSError:
            return None
        return int(name) if name.isdigit() and self.exists(int(name)) else None

    def exists(self, generation: int) -> bool:
        return (self.directory(generation) / "nginx.conf").exists()

    @failpoints.around("proxy.stage")
    def stage(self, generation: int, files: Mapping[str, str]) -> None:
        """Write a generation whole, durably, in the place of one of the same number. Raises OSError."""
        temporary = self._all / f".{generation}.new"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)  # whoever may enter here may read what is in it
        for folder in {pathlib.PurePath(name).parent for name in files} - {pathlib.PurePath()}:
            (temporary / folder).mkdir(mode=0o755, parents=True, exist_ok=True)
            (temporary / folder).chmod(0o755)
        before = self.directory(self.current() or 0)
        for name, content in files.items():
            if not _shared(before / name, temporary / name, content):
                atomic.write_text(temporary / name, content, 0o644)
                (temporary / name).chmod(0o644)
        self.discard(generation)
        temporary.rename(self.directory(generation))
        atomic.flush_directory(self._all)

    def discard(self, generation: int) -> None:
        """Delete a staged generation that never went live."""
        shutil.rmtree(self.directory(generation), ignore_errors=True)

    def holds(self, generation: int, files: Mapping[str, str]) -> bool:
        """Whether the generation on disk is exactly `files`."""
        directory = self.directory(generation)
        try:
            names = {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()}
            return names == set(files) and all((directory / name).read_text() == files[name] for name in names)
        except (OSError, UnicodeDecodeError):
            return False

    @failpoints.around("proxy.point")
    def point(self, generation: int) -> None:
        atomic.symlink(f"generations/{int(generation)}", self._current)

    @failpoints.around("proxy.begin")
    def begin(self, change: Change) -> None:
        atomic.write_text(self._change, json.dumps({"from": change.before, "to": change.after}))

    @failpoints.around("proxy.end")
    def end(self) -> None:
        """The change is over, one way or the other; generations that nobody needs are deleted."""
        self._change.unlink(missing_ok=True)
        atomic.flush_directory(self.root)
        current = self.current()
        for number in self.numbers()[:-KEEP]:
            if number != current:
                shutil.rmtree(self.directory(number))

    def change(self) -> Change | None:
        """The change that was interrupted. An unreadable file is as none: `current` decides then."""
        try:
            read = json.loads(self._change.read_text())
            return Change(int(read["from"]), int(read["to"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _shared(before: pathlib.Path, path: pathlib.Path, content: str) -> bool:
    """Link a file that did not change: a change of one route among thousands then costs one write, not thousands."""
    try:
        if before.read_text() != content:
            return False
        os.link(before, path)
    except (OSError, UnicodeDecodeError):
        return False
    return True
