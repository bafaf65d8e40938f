"""The places in a release at which its volumes are found: links that lead out of the tree, the only ones that may.

They are no part of the build: made last, in no inventory, and so copied into no other release. Where one comes, nothing may
stand: what a source brings along would be the volume's content once, and then be hidden behind it for ever.
"""

import contextlib
import os
import pathlib
import stat
from collections.abc import Iterator

from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import ReleaseSpec
from node_agent.paths import Paths

PLACEHOLDERS = frozenset({".gitkeep", ".keep", ".gitignore"})  # git keeps no empty directory without one
PARENT_MODE = 0o755  # whoever may read the tree may pass


def clear(tree: pathlib.Path, release: ReleaseSpec) -> None:
    """Remove the empty directories that stand where volumes come. Raises ReleaseFailedError for all else, OSError."""
    refuse_conflicts(tree, release)
    for _, mount in _places(release):
        place = tree / mount
        if os.path.lexists(place):
            for name in os.listdir(place):  # noqa: PTH208 - names are all that is wanted
                (place / name).unlink()
            place.rmdir()


def refuse_conflicts(tree: pathlib.Path, release: ReleaseSpec) -> None:
    """Raises ReleaseFailedError("volume_conflict")."""
    if release.volumes and release.runtime.value == "static":
        raise _conflict("have no use for a static site, which runs no process; leave volumes out")
    for name, mount in _places(release):
        if found := _in_the_way(tree, mount):
            raise _conflict(f"cannot be at {mount[:200]}: {found}; move that, or give the volume {name} another mount")


def link(paths: Paths, service_id: str, number: int, tree: pathlib.Path, release: ReleaseSpec) -> None:
    """Let the places lead to the volumes, in a tree on its way to become release `number`. Raises OSError."""
    final = paths.release_tree(service_id, number)
    for name, mount in _places(release):
        parent = tree
        for part in mount.split("/")[:-1]:
            parent /= part
            with contextlib.suppress(FileExistsError):
                parent.mkdir()
                parent.chmod(PARENT_MODE)
        (tree / mount).symlink_to(os.path.relpath(paths.volume(service_id, name), (final / mount).parent))


def _places(release: ReleaseSpec) -> Iterator[tuple[str, str]]:
    """The name of each volume, and where in the tree it is found."""
    for name, mount in release.volumes:
        yield name, os.path.normpath(os.path.join(release.working_dir, mount))  # noqa: PTH118 - relative, and text


def _in_the_way(tree: pathlib.Path, mount: str) -> str:
    """What stands there, or on the way to it; no link is followed."""
    place, parts = tree, mount.split("/")
    for at, part in enumerate(parts):
        place, here = place / part, "/".join(parts[: at + 1])[:200]
        try:
            mode = place.lstat().st_mode
        except FileNotFoundError:
            return ""
        if not stat.S_ISDIR(mode):
            return f"the source has a {'link' if stat.S_ISLNK(mode) else 'file'} {here}"
    content = sorted(entry.name for entry in os.scandir(place) if not _is_placeholder(entry))
    return f"the source has something in {mount[:200]}, such as {content[0][:200]}" if content else ""


def _is_placeholder(entry: os.DirEntry[str]) -> bool:
    return entry.name in PLACEHOLDERS and entry.is_file(follow_symlinks=False)


def _conflict(words: str) -> ReleaseFailedError:
    return ReleaseFailedError("volume_conflict", f"cannot mount the volumes: they {words}")
