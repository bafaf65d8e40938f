"""What earlier releases of the service can give to a new one: the whole tree, or the directory of its dependencies.

Blocks; run in a thread. A release that was changed since its seal gives nothing, and the work is done again.
"""

import os
import pathlib
from collections.abc import Callable, Iterator

from node_agent.builder import inventory, manifest, relocate, trees
from node_agent.builder.manifest import Manifest
from node_agent.paths import Paths

Wanted = Callable[[Manifest], bool]
SCRATCH = ".cache"  # tools keep working files in node_modules/.cache


def whole(paths: Paths, service_id: str, release: int, wanted: Wanted) -> Manifest | None:
    """Fill the build tree of `release` with the newest sealed tree that is wanted; whose it was, or None."""
    tree = paths.build_tree(service_id, release)
    for place, found in _sealed(paths, service_id, release, wanted):
        tree.mkdir(mode=0o700, parents=True)
        if _copied(manifest.entries(place), place / "tree", tree):
            relocate.relocate(tree, inventory.take(tree), place / "tree", tree)
            return found
        trees.discard(paths, tree)
    return None


def dependencies(paths: Paths, service_id: str, release: int, directory: str, wanted: Wanted) -> Manifest | None:
    """The same for `directory` (relative to the tree) alone; one that the source brings along is left alone."""
    tree = paths.build_tree(service_id, release)
    target = tree / directory
    if os.path.lexists(target):
        return None
    for place, found in _sealed(paths, service_id, release, wanted):
        entries = inventory.below(manifest.entries(place), directory, without=SCRATCH)
        if entries and entries[0].is_dir and _copied(entries, place / "tree", tree):
            relocate.relocate(tree, inventory.below(inventory.take(tree), directory), place / "tree", tree)
            return found
        trees.discard(paths, target)
    return None


def _sealed(paths: Paths, service_id: str, release: int, wanted: Wanted) -> Iterator[tuple[pathlib.Path, Manifest]]:
    """Newest first."""
    names = [place.name for place in paths.releases(service_id).glob("[0-9]*") if place.name.isdigit()]
    for number in sorted((int(name) for name in names if int(name) != release), reverse=True):
        place = paths.release(service_id, number)
        found = manifest.read(place)
        if found is not None and wanted(found):
            yield place, found


def _copied(entries: tuple[inventory.Entry, ...], source: pathlib.Path, target: pathlib.Path) -> bool:
    try:
        inventory.copy(entries, source, target)
    except inventory.ChangedError:
        return False
    return True
