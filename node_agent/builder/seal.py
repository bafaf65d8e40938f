"""The end of a build: judge the tree, fix its paths, and make it a release by one rename. Blocks; run in a thread.

Called when every process of the build is gone: until then a link could be swapped after the look at it.
"""

import dataclasses
import os
import pathlib

from node_agent import atomic
from node_agent.builder import inventory, manifest, relocate, trees
from node_agent.builder.manifest import Manifest
from node_agent.errors import ReleaseFailedError
from node_agent.paths import Paths


def seal(paths: Paths, service_id: str, draft: Manifest) -> Manifest:
    """Move the build tree to its release and write the manifest; answers it with inventory and sizes filled in.

    Raises ReleaseFailedError("link_out_of_tree" or "special_file"), OSError.
    """
    tree, final = paths.build_tree(service_id, draft.release), paths.release(service_id, draft.release)
    entries = inventory.take(tree)
    refuse_links_out(paths, tree, entries, draft.toolchain)
    relocate.relocate(tree, entries, tree, final / "tree")
    entries = inventory.take(tree)
    listing = inventory.dump(entries)
    done = dataclasses.replace(
        draft, inventory=manifest.digest(listing), files=len(entries), bytes=sum(entry.size for entry in entries)
    )
    staging = final.with_name(f".{final.name}.new")
    for left in (staging, final):  # an interrupted seal; a damaged release of this number
        trees.discard(paths, left)
    staging.mkdir(mode=0o700, parents=True)
    tree.rename(staging / "tree")
    manifest.write(staging, done, listing)
    trees.flush(staging)
    staging.rename(final)
    atomic.flush_directory(final.parent)
    return done


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
