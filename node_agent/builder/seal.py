"""The end of a build: judge the tree, fix its paths, and make it a release by one rename. Blocks; run in a thread.

`stage`, then trees.flush of `staging`, then `publish`. Called when every process of the build is gone: until then a link
could be swapped after the look at it.
"""

import dataclasses
import os
import pathlib

import failpoints
from node_agent import atomic
from node_agent.builder import inventory, manifest, mounts, relocate, trees
from node_agent.builder.manifest import Manifest
from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import ReleaseSpec
from node_agent.paths import Paths


def staging(paths: Paths, service_id: str, release: int) -> pathlib.Path:
    """Where the release lies until it is whole."""
    final = paths.release(service_id, release)
    return final.with_name(f".{final.name}.new")


@failpoints.around("build.stage")
def stage(paths: Paths, service_id: str, draft: Manifest, release: ReleaseSpec) -> Manifest:
    """Move the build tree to `staging`, with links to the volumes of `release`, and put its manifest beside it, with
    inventory and sizes filled in.

    Raises ReleaseFailedError("link_out_of_tree", "special_file" or "volume_conflict"), OSError.
    """
    tree, final = paths.build_tree(service_id, draft.release), paths.release(service_id, draft.release)
    mounts.clear(tree, release)
    entries = inventory.take(tree)
    refuse_links_out(paths, tree, entries, draft.toolchain)
    if relocate.relocate(tree, entries, tree, final / "tree"):
        entries = inventory.take(tree)
    listing = inventory.dump(entries)
    done = dataclasses.replace(
        draft, inventory=manifest.digest(listing), files=len(entries), bytes=sum(entry.size for entry in entries)
    )
    place = staging(paths, service_id, draft.release)
    for left in (place, final):  # an interrupted seal; a damaged release of this number
        trees.discard(paths, left)
    place.mkdir(mode=0o700, parents=True)
    place.chmod(0o711)  # who may pass to the releases of the service may pass to its tree
    tree.rename(place / "tree")
    mounts.link(paths, service_id, draft.release, place / "tree", release)
    manifest.write(place, done, listing)
    return done


@failpoints.around("build.publish")
def publish(paths: Paths, service_id: str, release: int) -> None:
    """Make what is staged and flushed a release. Raises OSError."""
    final = paths.release(service_id, release)
    staging(paths, service_id, release).rename(final)
    atomic.flush_directory(final.parent)


def refuse_links_out(paths: Paths, tree: pathlib.Path, entries: tuple[inventory.Entry, ...], toolchain: str) -> None:
    """Links may stay inside, or lead to a toolchain or its interpreter, as those of virtual environments do."""
    toolchains = os.path.realpath(paths.toolchains)
    interpreter = os.path.realpath(paths.toolchain(toolchain) / "bin" / "python3") if toolchain else ""

    def allowed(real: str) -> bool:
        return real == interpreter or real.startswith(f"{toolchains}/")

    bad = inventory.escaping(tree, entries, allowed)
    if bad is not None:
        raise ReleaseFailedError(
            "link_out_of_tree",
            f"cannot seal the release: the link {bad.path[:200]} leads out of the source, to {bad.target[:200]}; "
            "make it relative and inside the repository",
        )


def inside(tree: pathlib.Path, relative: str) -> pathlib.Path | None:
    """The real path of `relative` when it stays in the tree, whatever links say, else None."""
    if relative.startswith("/") or ".." in relative.split("/") or "\0" in relative:
        return None
    root, real = os.path.realpath(tree), os.path.realpath(tree / relative)
    return pathlib.Path(real) if real == root or real.startswith(f"{root}/") else None
