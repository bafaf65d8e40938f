"""Submodules, where a deployment asks for them: each one fetched by the same rules as the repository that names it."""

import pathlib

from node_agent.builder import seal
from node_agent.builder.git import Git
from node_agent.builder.listing import Budget, Listing
from node_agent.errors import ReleaseFailedError
from node_agent.model import source
from node_agent.model.source import Access

MAX_DEPTH = 3
MAX_SUBMODULES = 50


class Submodules:
    """Of one source; `say` takes lines for its build log."""

    def __init__(self, git: Git, remote: str, access: Access, budget: Budget) -> None:
        self._git, self._remote, self._access, self._budget = git, remote, access, budget
        self._count = 0

    async def write(self, tree: pathlib.Path, listing: Listing, settings: str, depth: int = 1) -> list[str]:
        """Fill the empty directories of the submodules, and of theirs; what was fetched, for the build log.

        `settings` are those of .gitmodules. No mirror is held while the next one is: a repository may name itself.
        """
        if not listing.submodules:
            return []
        if depth > MAX_DEPTH:
            raise _refused(f"they are nested deeper than {MAX_DEPTH}")
        if not listing.has_modules:
            raise _refused("there is no file .gitmodules that says where they come from")
        addresses = _addresses(settings)
        done = []
        for path, wanted in listing.submodules.items():
            done += await self._one(path, wanted, addresses.get(path, ""), tree, depth)
        return done

    async def _one(self, path: str, commit: str, url: str, tree: pathlib.Path, depth: int) -> list[str]:
        self._count += 1
        if self._count > MAX_SUBMODULES:
            raise _refused(f"there are more than {MAX_SUBMODULES}")
        policy, shown = self._git.policy, path[:200]
        if not url:
            raise _refused(f"{shown!r} has no url in .gitmodules")
        if issue := source.submodule_issue(url, allow_file=policy.allow_file, allow_ssh=policy.allow_ssh):
            raise _refused(f"the url {url[:200]!r} of {shown!r}: {issue}")
        place = _directory(tree, path)
        if place is None:
            raise _refused(f"{shown!r} does not lie in a directory of its own")
        access = self._access_for(url)
        async with self._git.holding(url, commit, "", access) as mirror:
            listing = await self._git.checkout(mirror, commit, place, self._budget)
            settings = await self._git.submodule_settings(mirror, commit, listing)
        return [f"submodule {shown} at {commit[:12]}", *await self.write(place, listing, settings, depth + 1)]

    def _access_for(self, url: str) -> Access:
        """The credential goes to the machine that it was given for, and to no other."""
        ours, theirs = source.endpoint(self._remote), source.endpoint(url)
        return self._access if ours == theirs else source.NO_ACCESS


def _directory(tree: pathlib.Path, path: str) -> pathlib.Path | None:
    """Where the submodule belongs, when no link is on the way there."""
    found = seal.inside(tree, path)
    return found if found is not None and found == tree.resolve() / path and found.is_dir() else None


def _addresses(settings: str) -> dict[str, str]:
    """Path → url. `settings` is `submodule.NAME.KEY LF value NUL`; of a key that stands twice the last one counts."""
    found: dict[str, dict[str, str]] = {}
    for record in settings.split("\0"):
        key, _, value = record.partition("\n")
        name, _, field = key.removeprefix("submodule.").rpartition(".")
        found.setdefault(name, {})[field] = value
    return {one["path"]: one["url"] for one in found.values() if "path" in one and "url" in one}


def _refused(why: str) -> ReleaseFailedError:
    return ReleaseFailedError("bad_submodule", f"cannot fetch the submodules: {why}")
