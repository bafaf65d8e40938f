"""The directories of toolchains: each is there whole or not at all, read-only, and made once however many want it."""

import asyncio
import contextlib
import pathlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable

import failpoints
from node_agent.builder import children, locks, trees
from node_agent.builder.registries import ProviderError
from node_agent.paths import Paths

Fill = Callable[[pathlib.Path], Awaitable[str]]


class Shelf:
    """`kind` is what a name begins with: node, python, pnpm."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    @contextlib.asynccontextmanager
    async def locked(self, kind: str) -> AsyncIterator[None]:
        """One maker of a kind at a time, on this host. What a killed one left half done is gone then."""
        async with locks.locked(self._paths.toolchains / f".lock.{kind}"):
            await asyncio.to_thread(self._clean, kind)
            yield

    async def make(self, kind: str, fill: Fill) -> str:
        """Fill a temporary directory, then rename it to its kind and what `fill` answers; the name. Under the lock.

        Raises what `fill` raises, ProviderError for a program of it that did not end.
        """
        root = self._paths.toolchains
        place = pathlib.Path(await asyncio.to_thread(tempfile.mkdtemp, dir=root, prefix=f".new-{kind}-"))
        try:
            name = f"{kind}-{await fill(place)}"
            await trees.make_read_only(place)
            await asyncio.to_thread(self._publish, place, name)
            return name
        except BaseException as error:
            # Not awaited in a thread: the task may be on its way out, and nothing half-made may stay.
            trees.discard(self._paths, place)
            if isinstance(error, children.ChildTimeoutError):
                raise ProviderError(str(error)) from error
            raise

    def provisioned(self, kind: str) -> list[str]:
        """The exact versions of a kind that are there, whole."""
        names = [place.name for place in self._paths.toolchains.glob(f"{kind}-*")]
        return [name.removeprefix(f"{kind}-") for name in names]

    async def discard(self, name: str) -> None:
        await asyncio.to_thread(trees.discard, self._paths, self._paths.toolchain(name))

    def _clean(self, kind: str) -> None:
        for left in self._paths.toolchains.glob(f".new-{kind}-*"):
            trees.discard(self._paths, left)

    @failpoints.around("toolchain.publish")
    def _publish(self, place: pathlib.Path, name: str) -> None:
        final = self._paths.toolchain(name)
        trees.flush(place)
        if final.exists():  # another version was asked for, and the provider had this one
            trees.discard(self._paths, place)
        else:
            place.rename(final)
