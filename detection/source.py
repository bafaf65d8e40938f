"""A source on disk as one decision: its files, its manifest and what was asked for, put together. Blocks."""

import dataclasses
import pathlib
from collections.abc import Mapping

from detection import choices, manifest, merge, tree


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
    files = tree.files_of(root, inner) if inner else files
    return Seen(merge.decide(files, said, request), said, files)
