"""A release's source out of git into its build tree: the commit, its submodules when asked for, and what is left out."""

import asyncio
import pathlib
from collections.abc import Callable, Coroutine
from typing import Any

from node_agent.builder import listing as listings
from node_agent.builder.git import Git
from node_agent.builder.submodules import Submodules
from node_agent.builder.threads import in_thread
from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import ReleaseSpec

Say = Callable[[str], None]


async def write(git: Git, release: ReleaseSpec, commit: str, tree: pathlib.Path, say: Say) -> None:
    """Fill the empty directory `tree`. Raises ReleaseFailedError."""
    budget = git.quota
    async with git.holding(release.remote, commit, release.branch, release.access, say) as mirror:
        listing = await git.checkout(mirror, commit, tree, budget)
        settings = await git.submodule_settings(mirror, commit, listing) if release.submodules else ""
    if release.submodules:
        submodules = Submodules(git, release.remote, release.access, budget)
        for line in await _within(git.fetch_s, submodules.write(tree, listing, settings)):
            say(line)
    elif listing.submodules:
        say(f"warning: {len(listing.submodules)} submodules are left out; `submodules: true` fetches them")
    pointers = await in_thread(listings.pointers, tree, listing)
    if pointers:
        say(
            f"warning: {len(pointers)} files are pointers of Git LFS, such as {pointers[0][:200]}: what they point to is "
            "not fetched; commit the files themselves, or fetch them in build_cmd"
        )


async def _within(deadline_s: float, work: Coroutine[Any, Any, list[str]]) -> list[str]:
    """All of them together have as long as the repository itself."""
    try:
        async with asyncio.timeout(deadline_s):
            return await work
    except TimeoutError as error:
        raise ReleaseFailedError(
            "fetch_timeout", f"cannot fetch the submodules: no end after {deadline_s:g} s; have fewer, or smaller ones"
        ) from error
