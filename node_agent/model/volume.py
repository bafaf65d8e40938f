"""Directories of a service that outlive its releases: which names and places can be meant. Pure."""

import itertools
import posixpath
from collections.abc import Iterable

from node_agent import paths

MOST = 10

Volumes = tuple[tuple[str, str], ...]  # (name, mount below the working directory), sorted by name


def is_name(name: str) -> bool:
    return paths.VOLUME.fullmatch(name) is not None


def is_mount(mount: str) -> bool:
    """A relative path, written the one way, that leads below where it begins."""
    parts = mount.split("/")
    return mount == posixpath.normpath(mount) and not {"", ".", ".."} & set(parts) and "\0" not in mount


def are_good(found: Iterable[tuple[str, str]]) -> bool:
    """Can they be made side by side, each of them where it says?"""
    volumes = list(found)
    names, mounts = {name for name, _ in volumes}, sorted(f"{mount}/" for _, mount in volumes)
    apart = not any(after.startswith(before) for before, after in itertools.pairwise(mounts))
    each = all(is_name(name) and is_mount(mount) for name, mount in volumes)
    return each and apart and len(names) == len(volumes) <= MOST


def variable(name: str) -> str:
    """The environment variable that holds the directory's absolute path."""
    return f"DPLOYR_VOLUME_{name.upper().replace('-', '_')}"
