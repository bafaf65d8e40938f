"""Exact toolchains, one read-only directory each, shared by all services: provisioned · on the host · from a registry."""

import asyncio
import pathlib
import tempfile
from collections.abc import Awaitable, Callable

from node_agent.builder import locks, node_providers, pythons, trees
from node_agent.errors import ReleaseFailedError
from node_agent.model import toolchain
from node_agent.model.spec import Runtime
from node_agent.paths import Paths

PROVISION_S = 600.0
Fill = Callable[[pathlib.Path], Awaitable[str]]


class Toolchains:
    """Names are directories below toolchains/ whose bin/ comes first in PATH."""

    def __init__(self, paths: Paths, *, provision_s: float = PROVISION_S) -> None:
        self._paths = paths
        self._provision_s = provision_s
        self._pythons = pythons.Pythons()

    def available(self) -> dict[str, tuple[str, ...]]:
        """What can be had, by runtime: lines of versions. Blocks while interpreters are asked for their version."""
        node = {*toolchain.NODE_LINES, *toolchain.lines(self._provisioned("node"), 1)}
        found = [version for version in self._interpreters() if toolchain.parts(version) >= toolchain.OLDEST_PYTHON]
        return {
            Runtime.NODEJS.value: toolchain.lines(node, 1),
            Runtime.PYTHON.value: toolchain.lines(found, 2),
            Runtime.STATIC.value: (),
        }

    async def provide(self, runtime: Runtime, version: str) -> str:
        """The name of a verified toolchain that satisfies `version`. Raises ReleaseFailedError("toolchain_unavailable")."""
        if not toolchain.is_request(version):
            raise _unavailable(runtime, version, "write it as numbers, such as 22 or 3.12.1", self.available())
        try:
            async with asyncio.timeout(self._provision_s):
                return await (self._python(version) if runtime is Runtime.PYTHON else self._node(version))
        except TimeoutError as error:
            why = f"it could not be fetched within {self._provision_s:g} s; try again"
            raise _unavailable(runtime, version, why, {}) from error

    def bootstrap_pip(self, name: str) -> str:
        """The pip to put into virtual environments when the interpreter cannot do it itself, else ""."""
        pip = self._paths.toolchain(name) / "pip" / "pip"
        return str(pip) if pip.is_dir() else ""

    async def _node(self, version: str) -> str:
        if found := toolchain.newest(self._provisioned("node"), version, toolchain.OLDEST_NODE):
            return f"node-{found}"
        async with locks.locked(self._paths.toolchains / ".lock.node"):
            await asyncio.to_thread(self._clean, "node")
            if found := toolchain.newest(self._provisioned("node"), version, toolchain.OLDEST_NODE):
                return f"node-{found}"
            return await self._first_that_works(version)

    async def _first_that_works(self, version: str) -> str:
        said: list[str] = []
        for provider in node_providers.providers(version, self._paths):
            try:
                return await self._make("node", provider.fill)
            except (node_providers.ProviderError, OSError) as error:
                said.append(f"{provider.name}: {error}")
        why = "; ".join(said) or "no registry can be asked on this host"
        raise _unavailable(Runtime.NODEJS, version, why, await asyncio.to_thread(self.available))

    async def _python(self, version: str) -> str:
        found = await asyncio.to_thread(self._interpreters)
        exact = toolchain.newest(found, version, toolchain.OLDEST_PYTHON)
        if exact is None:
            why = "no such interpreter is installed on the host"
            raise _unavailable(Runtime.PYTHON, version, why, await asyncio.to_thread(self.available))
        if not await asyncio.to_thread(self._fits, exact, found[exact]):
            async with locks.locked(self._paths.toolchains / ".lock.python"):
                await asyncio.to_thread(self._clean, "python")
                if not self._fits(exact, found[exact]):
                    await asyncio.to_thread(trees.discard, self._paths, self._paths.toolchain(f"python-{exact}"))
                    await self._make("python", lambda place: pythons.fill(place, exact, found[exact]))
        return f"python-{exact}"

    def _interpreters(self) -> dict[str, pathlib.Path]:
        """Where apps have users of their own, they may pass through the data directory; the interpreter is theirs too."""
        return self._pythons.found(by_all=bool(self._paths.root.stat().st_mode & 0o001))

    def _fits(self, exact: str, interpreter: pathlib.Path) -> bool:
        """An interpreter is linked, not copied: is the link still good?"""
        link = self._paths.toolchain(f"python-{exact}") / "bin" / "python3"
        return link.is_symlink() and link.resolve() == interpreter

    async def _make(self, kind: str, fill: Fill) -> str:
        """Fill a temporary directory, then rename it: a toolchain is there whole or not at all."""
        root = self._paths.toolchains
        place = pathlib.Path(await asyncio.to_thread(tempfile.mkdtemp, dir=root, prefix=f".new-{kind}-"))
        try:
            name = f"{kind}-{await fill(place)}"
            await asyncio.to_thread(_publish, self._paths, place, name)
            return name
        except BaseException:
            # Not awaited in a thread: the task may be on its way out, and nothing half-made may stay.
            trees.discard(self._paths, place)
            raise

    def _provisioned(self, kind: str) -> list[str]:
        """The exact versions of a kind that are there, whole."""
        names = [place.name for place in self._paths.toolchains.glob(f"{kind}-*")]
        return [name.removeprefix(f"{kind}-") for name in names]

    def _clean(self, kind: str) -> None:
        """What a killed agent left half done; called under the lock."""
        for left in self._paths.toolchains.glob(f".new-{kind}-*"):
            trees.discard(self._paths, left)


def _publish(paths: Paths, place: pathlib.Path, name: str) -> None:
    final = paths.toolchain(name)
    trees.make_read_only(place)
    trees.flush(place)
    if final.exists():  # another version was asked for, and the provider had this one
        trees.discard(paths, place)
    else:
        place.rename(final)


def _unavailable(runtime: Runtime, version: str, why: str, known: dict[str, tuple[str, ...]]) -> ReleaseFailedError:
    lines = ", ".join(known.get(runtime.value, ()))
    hint = f"; versions that can be had: {lines}" if lines else ""
    wanted = f"{runtime.value} {version}".strip()
    return ReleaseFailedError("toolchain_unavailable", f"cannot get {wanted[:80]}: {why}{hint}")
