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
        if _copied(manifest.entries(place), place / "tree", tree, reader(paths, service_id)):
            return found
        trees.discard(paths, tree)
    return None


def dependencies(
    paths: Paths, service_id: str, release: int, directory: str, wanted: Wanted, *, is_built: bool
) -> Manifest | None:
    """The same for `directory` (relative to the tree) alone; one that the source brings along is left alone.

    `is_built`: a build follows, and gets files of its own.
    """
    tree = paths.build_tree(service_id, release)
    target = tree / directory
    if os.path.lexists(target):
        return None
    for place, found in _sealed(paths, service_id, release, wanted):
        entries = inventory.below(manifest.entries(place), directory, without=SCRATCH)
        group = 0 if is_built else reader(paths, service_id)
        if entries and entries[0].is_dir and _copied(entries, place / "tree", tree, group):
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


def reader(paths: Paths, service_id: str) -> int:
    """The group for which its releases are sealed; 0 where its apps are whom we run as, and could write into them."""
    group = paths.releases(service_id).stat().st_gid
    return 0 if group == os.getegid() else group


def _copied(entries: tuple[inventory.Entry, ...], source: pathlib.Path, target: pathlib.Path, group: int) -> bool:
    try:
        inventory.copy(entries, source, target, group)
    except inventory.ChangedError:
        return False
    relocate.relocate(target, entries, source, target)
    return True
