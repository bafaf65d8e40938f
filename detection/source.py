"""A source on disk as one decision: its files, its manifest and what was asked for, put together. Blocks."""

import dataclasses
import pathlib
from collections.abc import Mapping

from detection import choices, manifest, merge, tree

MAX_PROCESSES = 32  # beside web


@dataclasses.dataclass(frozen=True, slots=True)
class Seen:
    """`files` are those of the working directory, `said` is the manifest."""

    decision: choices.Decision
    said: manifest.Manifest
    files: dict[str, str]


def decide(root: pathlib.Path, request: Mapping[str, str]) -> Seen:
    """Raises NotADirectoryError with the working directory that is none, and ManifestError.

    The manifest stands in the working directory that was asked for, else at the root, and may name one itself.
    """
    asked = request.get("working_dir", "")
    files = tree.files_of(root, asked)
    said = manifest.parse(files)
    inner = "" if asked else said.values.get("working_dir", "")
    if inner and inner != ".":
        files = tree.files_of(root, inner)
        _demand_no_other(said.file, inner, files)
    decision = merge.decide(files, said, request)
    _demand_few(decision)
    return Seen(decision, said, files)


def _demand_no_other(outer: str, inner: str, files: Mapping[str, str]) -> None:
    if other := next((name for name in manifest.NAMES if name in files), ""):
        raise manifest.ManifestError(
            f"cannot use {outer} and {inner}/{other}: they are manifests both; delete one of them, or ask for working_dir {inner}"
        )


def _demand_few(decision: choices.Decision) -> None:
    """Each is a program that runs on the host for ever."""
    if (count := len(decision.processes)) > MAX_PROCESSES:
        raise manifest.ManifestError(
            f"cannot use the source: its Procfile or manifest makes {count} processes beside web; at most {MAX_PROCESSES} may run"
        )
