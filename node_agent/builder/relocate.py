"""Virtual environments hold the absolute path they were made at. This rewrites it after a tree was moved or copied."""

import os
import pathlib
import stat
from collections.abc import Iterable

from node_agent.builder import threads
from node_agent.builder.inventory import Entry

MAX_SIZE = 4 << 20
MARK = "pyvenv.cfg"


def relocate(tree: pathlib.Path, entries: Iterable[Entry], old: pathlib.Path, new: pathlib.Path) -> bool:
    """In the tree at `tree`, make what says `old` say `new`: scripts, activation and path files of virtual environments;
    absolute links into the tree become relative ones. `entries` is the tree's inventory, so no link is followed.
    Whether anything said it.
    """
    entries, changed = tuple(entries), False
    roots = {os.path.dirname(entry.path) for entry in entries if os.path.basename(entry.path) == MARK}  # noqa: PTH119, PTH120
    for entry in entries:
        threads.check()
        if entry.is_link:
            changed |= _relocate_link(tree, entry, str(old))
        elif not entry.is_dir and entry.size <= MAX_SIZE and _may_hold_path(entry.path, roots):
            changed |= _rewrite(tree / entry.path, os.fsencode(old), os.fsencode(new), entry.mode)
    return changed


def _may_hold_path(path: str, roots: set[str]) -> bool:
    """Is it one of the files of a virtual environment into which its makers write the path?"""
    parent, name = os.path.split(path)
    if name == MARK or (os.path.basename(parent) == "bin" and os.path.dirname(parent) in roots):  # noqa: PTH119, PTH120
        return True
    inside = any(path.startswith(f"{root}/" if root else "") for root in roots)
    return inside and (name.endswith(".pth") or name.startswith("__editable__") or name == "direct_url.json")


def _rewrite(file: pathlib.Path, old: bytes, new: bytes, mode: int) -> bool:
    """By a new file and a rename: the old one may be shared or running. Binary files are left alone."""
    data = file.read_bytes()
    # The slash keeps …/builds/1 from being found in …/builds/12; quotes and line ends close a path in scripts.
    changed = data
    for end in (b"/", b'"', b"'", b"\n", b")"):
        changed = changed.replace(old + end, new + end)
    if changed == data or b"\0" in data:
        return False
    temporary = file.with_name(f".{file.name[:200]}.moved")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(changed)
        # The new file may be of another group: what that of the old one might do, everybody may who gets this far.
        os.fchmod(out.fileno(), stat.S_IMODE(mode) | (mode & 0o050) >> 3)
    temporary.replace(file)
    return True


def _relocate_link(tree: pathlib.Path, entry: Entry, old: str) -> bool:
    if entry.target != old and not entry.target.startswith(f"{old}/"):
        return False
    link = tree / entry.path
    inner = os.path.relpath(entry.target, old)
    link.unlink()
    link.symlink_to(os.path.relpath(tree / inner, link.parent))
    return True
