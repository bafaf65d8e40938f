"""Exact toolchains, one read-only directory each, shared by all services: provisioned · on the host · from a registry."""

import asyncio
import os
import pathlib

from node_agent.builder import node_providers, programs, pythons, shelf, tools, trees
from node_agent.builder.registries import ProviderError
from node_agent.errors import ReleaseFailedError
from node_agent.model import toolchain
from node_agent.model.spec import Runtime
from node_agent.paths import Paths

PROVISION_S = 600.0


class Toolchains:
    """Names are directories below toolchains/ whose bin/ comes first in PATH.

    One with package managers beside the runtime is a directory of links to both: `node-22.1.0+pnpm-10.1.0`.
    """

    def __init__(self, paths: Paths, *, provision_s: float = PROVISION_S) -> None:
        self._paths = paths
        self._provision_s = provision_s
        self._shelf = shelf.Shelf(paths)
        self._pythons = pythons.Pythons()
        self._programs = programs.Programs()

    def available(self) -> dict[str, tuple[str, ...]]:
        """What can be had, by runtime: lines of versions. Blocks while programs are asked for their version."""
        node = {*toolchain.NODE_LINES, *toolchain.lines(self._shelf.provisioned("node"), 1)}
        found = [version for version in self._interpreters() if toolchain.parts(version) >= toolchain.OLDEST_PYTHON]
        others = {runtime.value: self._lines(runtime) for runtime in programs.PROGRAMS}
        return {
            Runtime.NODEJS.value: toolchain.lines(node, 1),
            Runtime.PYTHON.value: toolchain.lines(found, 2),
            **{name: lines for name, lines in others.items() if lines},
            Runtime.STATIC.value: (),
            Runtime.CUSTOM.value: (),
        }

    def best(self, runtime: Runtime, version: str) -> str:
        """The name that `provide` would answer without fetching anything, "" when there is none. Blocks."""
        if runtime is Runtime.NODEJS:
            kind, exact = "node", toolchain.newest(self._shelf.provisioned("node"), version, toolchain.OLDEST_NODE)
        elif runtime is Runtime.PYTHON:
            kind, exact = "python", toolchain.newest(self._interpreters(), version, toolchain.OLDEST_PYTHON)
        else:
            kind, exact = runtime.value, toolchain.newest(self._others(runtime), version)
        return f"{kind}-{exact}" if exact else ""

    async def provide(self, runtime: Runtime, version: str, manager: str = "") -> str:
        """The name of a verified toolchain that satisfies `version`, with the package manager `name@version` when one is
        asked for that does not come with the runtime. Raises ReleaseFailedError("toolchain_unavailable").
        """
        if not toolchain.is_request(version):
            raise _unavailable(runtime.value, version, "write it as numbers, such as 22 or 3.12.1", self.available())
        try:
            async with asyncio.timeout(self._provision_s):
                base = await self._base(runtime, version)
                name = await self._with_manager(base, manager)
        except TimeoutError as error:
            why = f"it could not be fetched within {self._provision_s:g} s; try again"
            raise _unavailable(runtime.value, version, why, {}) from error
        for part in {name, *name.split("+")}:
            os.utime(self._paths.toolchain(part))  # used now: it is not the next one to go
        return name

    async def _base(self, runtime: Runtime, version: str) -> str:
        if runtime is Runtime.PYTHON:
            return await self._python(version)
        return await (self._node(version) if runtime is Runtime.NODEJS else self._program(runtime, version))

    def bootstrap_pip(self, name: str) -> str:
        """The pip to put into virtual environments when the interpreter cannot do it itself, else ""."""
        pip = self._paths.toolchain(name.partition("+")[0]) / "pip" / "pip"
        return str(pip) if pip.is_dir() else ""

    async def _with_manager(self, base: str, manager: str) -> str:
        name, _, version = manager.partition("@")
        if name not in tools.NAMES:
            return base
        kind, _, exact = base.partition("-")
        tool = tools.Tool(name, version, self._paths.toolchain(base), exact)
        beside = await self._tool(tool)
        joined = f"{base}+{beside}"
        async with self._shelf.locked(kind):
            if not (self._paths.toolchain(joined) / "bin").is_dir():
                await self._shelf.make(kind, lambda place: _join(place, joined, (beside, base)))
        return joined

    async def _tool(self, tool: tools.Tool) -> str:
        async with self._shelf.locked(tool.name):
            known = [
                one.removesuffix(tool.suffix) for one in self._shelf.provisioned(tool.name) if one.endswith(tool.suffix)
            ]
            if found := toolchain.newest(known, tool.wanted):
                return f"{tool.name}-{found}{tool.suffix}"
            try:
                return await self._shelf.make(tool.name, lambda place: self._filled(place, tool))
            except (ProviderError, OSError) as error:
                raise _unavailable(tool.name, tool.wanted, str(error), {}) from error

    async def _filled(self, place: pathlib.Path, tool: tools.Tool) -> str:
        """A version of another form would never be found again, and be fetched for each build."""
        exact = await tools.fill(place, tool, self._paths)
        if not toolchain.satisfies(exact, tool.wanted):
            raise ProviderError(f"gave {exact[:80] or 'no version'} for {tool.wanted or 'the newest'}")
        return exact + tool.suffix

    async def _program(self, runtime: Runtime, version: str) -> str:
        async with self._shelf.locked(runtime.value):
            found = await asyncio.to_thread(self._others, runtime)
            exact = toolchain.newest(found, version)
            if exact is None:
                return await self._fetched(runtime, version)
            name = f"{runtime.value}-{exact}"
            if not await asyncio.to_thread(self._leads_to, name, runtime, found[exact]):
                await self._shelf.discard(name)
                await self._shelf.make(runtime.value, lambda place: _linked(place, runtime, exact, found[exact]))
            return name

    async def _fetched(self, runtime: Runtime, version: str) -> str:
        """Go, when the host has none that will do; the others are nowhere else."""
        why = f"no such {programs.PROGRAMS[runtime].name} is installed on the host"
        if runtime is Runtime.GO:
            try:
                return await self._shelf.make("go", lambda place: programs.fill_go(place, version, self._paths))
            except (ProviderError, OSError) as error:
                why = f"{why}; PyPI: {error}"
        raise _unavailable(runtime.value, version, why, await asyncio.to_thread(self.available))

    def _others(self, runtime: Runtime) -> dict[str, pathlib.Path]:
        """What the host has of a runtime, and what was fetched of it."""
        if runtime not in programs.PROGRAMS:
            return {}
        found = self._programs.found(runtime, by_all=self._is_shared())
        name = programs.PROGRAMS[runtime].name
        fetched = self._paths.toolchains.glob(f"{runtime.value}-*/{name}/bin/{name}")
        return {**found, **{place.parents[2].name.removeprefix(f"{runtime.value}-"): place for place in fetched}}

    def _leads_to(self, name: str, runtime: Runtime, program: pathlib.Path) -> bool:
        link = self._paths.toolchain(name) / "bin" / programs.PROGRAMS[runtime].name
        return link.is_symlink() and link.resolve() == program.resolve()

    def _lines(self, runtime: Runtime) -> tuple[str, ...]:
        """Java counts its lines by one number, the others by two."""
        if runtime is Runtime.JAVA:
            return toolchain.lines(self._others(runtime), 1)
        known = toolchain.GO_LINES if runtime is Runtime.GO else ()
        return toolchain.lines((*known, *self._others(runtime)), 2)

    async def _node(self, version: str) -> str:
        if found := toolchain.newest(self._shelf.provisioned("node"), version, toolchain.OLDEST_NODE):
            return f"node-{found}"
        async with self._shelf.locked("node"):
            if found := toolchain.newest(self._shelf.provisioned("node"), version, toolchain.OLDEST_NODE):
                return f"node-{found}"
            return await self._first_that_works(version)

    async def _first_that_works(self, version: str) -> str:
        said: list[str] = []
        for provider in node_providers.providers(version, self._paths):
            try:
                return await self._shelf.make("node", provider.fill)
            except (ProviderError, OSError) as error:
                said.append(f"{provider.name}: {error}")
        why = "; ".join(said) or "no registry can be asked on this host"
        raise _unavailable("nodejs", version, why, await asyncio.to_thread(self.available))

    async def _python(self, version: str) -> str:
        found = await asyncio.to_thread(self._interpreters)
        exact = toolchain.newest(found, version, toolchain.OLDEST_PYTHON)
        if exact is None:
            return await self._python_by_uv(version)
        if not await asyncio.to_thread(self._fits, exact, found[exact]):
            try:
                await self._link_python(exact, found[exact])
            except ProviderError as error:
                raise _unavailable("python", version, str(error), {}) from error
        return f"python-{exact}"

    async def _link_python(self, exact: str, interpreter: pathlib.Path) -> None:
        async with self._shelf.locked("python"):
            if not self._fits(exact, interpreter):
                await self._shelf.discard(f"python-{exact}")
                await self._shelf.make("python", lambda place: pythons.fill(place, exact, interpreter))

    async def _python_by_uv(self, version: str) -> str:
        """Where its source can be reached."""
        try:
            uv = await self._tool(tools.Tool("uv", "", self._paths.toolchains, ""))
            program = self._paths.toolchain(uv) / "bin" / "uv"
            async with self._shelf.locked("python"):
                return await self._shelf.make(
                    "python", lambda place: pythons.fill_by_uv(place, program, version, self._paths)
                )
        except (ReleaseFailedError, ProviderError, OSError) as error:
            why = f"no such interpreter is installed on the host, and uv has none: {error}"
            raise _unavailable("python", version, why, await asyncio.to_thread(self.available)) from error

    def _interpreters(self) -> dict[str, pathlib.Path]:
        """What the host has, and what was fetched."""
        fetched = self._paths.toolchains.glob("python-*/pythons/*/bin/python3")
        found = {place.parents[3].name.removeprefix("python-"): place.resolve() for place in fetched}
        return {**self._pythons.found(by_all=self._is_shared()), **found}

    def _is_shared(self) -> bool:
        """Where apps have users of their own, they may pass through the data directory; the programs are theirs too."""
        return bool(self._paths.root.stat().st_mode & 0o001)

    def _fits(self, exact: str, interpreter: pathlib.Path) -> bool:
        """An interpreter is linked, not copied: is the link still good?"""
        link = self._paths.toolchain(f"python-{exact}") / "bin" / "python3"
        return link.is_symlink() and link.resolve() == interpreter


async def _linked(place: pathlib.Path, runtime: Runtime, exact: str, program: pathlib.Path) -> str:
    await asyncio.to_thread(programs.link, place, runtime, program)
    return exact


async def _join(place: pathlib.Path, name: str, parts: tuple[str, ...]) -> str:
    """Links to all programs of `parts`, those of the first before those of the others; the name without its kind."""
    bin_dir = place / "bin"
    bin_dir.mkdir()
    for part in parts:
        for program in trees.children(place.parent / part / "bin"):
            if not os.path.lexists(bin_dir / program.name):  # noqa: ASYNC240 - a few names
                (bin_dir / program.name).symlink_to(f"../../{part}/bin/{program.name}")
    return name.partition("-")[2]


def _unavailable(what: str, version: str, why: str, known: dict[str, tuple[str, ...]]) -> ReleaseFailedError:
    lines = ", ".join(known.get(what, ()))
    hint = f"; versions that can be had: {lines}" if lines else ""
    wanted = f"{what} {version}".strip()
    return ReleaseFailedError("toolchain_unavailable", f"cannot get {wanted[:80]}: {why}{hint}")
