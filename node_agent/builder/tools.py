"""Package managers, each a toolchain of its own beside the runtime that it serves: pnpm, yarn, bun, uv, poetry, pipenv."""

import asyncio
import dataclasses
import pathlib
import platform
import shutil
from collections.abc import Awaitable, Callable

from node_agent.builder import registries
from node_agent.builder.registries import ProviderError
from node_agent.model import toolchain
from node_agent.paths import Paths

BUN = {"x86_64": "@oven/bun-linux-x64", "aarch64": "@oven/bun-linux-aarch64"}
# The line that suits the Node it runs on, where the source names none: (least Node, line), newest first.
PNPM_FOR_NODE = (((18, 12), "10"), ((16, 14), "8"))
WRAPPER = """\
#!/usr/bin/env python3
import os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "lib"))
from {module} import {function}
sys.exit({function}())
"""
ENTRIES = {"poetry": ("poetry.console.application", "main"), "pipenv": ("pipenv", "cli")}
NAMES = frozenset({"pnpm", "yarn", "bun", "uv", *ENTRIES})


@dataclasses.dataclass(frozen=True, slots=True)
class Tool:
    """One that a source asks for: `version` is a version, a line or "". `runtime` is the toolchain that it serves."""

    name: str
    version: str
    runtime: pathlib.Path
    exact_runtime: str

    @property
    def suffix(self) -> str:
        """Those written in Python are installed for one line of it."""
        return f"-py{'.'.join(self.exact_runtime.split('.')[:2])}" if self.name in ENTRIES else ""

    @property
    def wanted(self) -> str:
        if self.name == "pnpm" and not self.version:
            node = toolchain.parts(self.exact_runtime)
            return next((line for least, line in PNPM_FOR_NODE if node >= least), "7")
        return self.version


async def fill(place: pathlib.Path, tool: Tool, paths: Paths) -> str:
    """Leave the tool in `place`/bin; its exact version. Raises ProviderError, OSError."""
    return await FILLS[tool.name](place, tool, paths)


async def _from_npm(place: pathlib.Path, package: str, tool: Tool, paths: Paths) -> str:
    modules = await registries.from_npm(place, f"{package}@{tool.wanted or 'latest'}", paths)
    found = registries.described(modules / package)
    registries.take(modules / package, place / "lib" / tool.name)
    programs = found.get("bin")
    programs = {tool.name: programs} if isinstance(programs, str) else programs
    for name, script in programs.items() if isinstance(programs, dict) else ():
        _link(place, str(name), pathlib.Path("lib", tool.name, str(script)))
    await asyncio.to_thread(shutil.rmtree, place / "scratch")
    return str(found.get("version", ""))


async def _pnpm(place: pathlib.Path, tool: Tool, paths: Paths) -> str:
    return await _from_npm(place, "pnpm", tool, paths)


async def _yarn(place: pathlib.Path, tool: Tool, paths: Paths) -> str:
    """From 2 on it is another package."""
    old = tool.wanted.split(".")[0] in {"", "0", "1"}
    return await _from_npm(place, "yarn" if old else "@yarnpkg/cli-dist", tool, paths)


async def _bun(place: pathlib.Path, tool: Tool, paths: Paths) -> str:
    package = BUN.get(platform.machine())
    if package is None:
        raise ProviderError(f"has nothing for {platform.machine()}")
    modules = await registries.from_npm(place, f"{package}@{tool.wanted or 'latest'}", paths)
    registries.take(modules / package / "bin" / "bun", place / "bin" / "bun")
    (place / "bin" / "bunx").symlink_to("bun")
    exact = str(registries.described(modules / package).get("version", ""))
    await asyncio.to_thread(shutil.rmtree, place / "scratch")
    return exact


async def _uv(place: pathlib.Path, tool: Tool, paths: Paths) -> str:
    scratch = place / "scratch"
    await registries.from_pypi(scratch, f"uv{_exactly(tool.wanted)}", paths)
    registries.take(scratch / "bin" / "uv", place / "bin" / "uv")
    exact = _installed(scratch, "uv")
    await asyncio.to_thread(shutil.rmtree, scratch)
    return exact


async def _python_tool(place: pathlib.Path, tool: Tool, paths: Paths) -> str:
    """With its packages in lib/, and a program that adds them: a virtual environment could not be moved."""
    interpreter = str(tool.runtime / "bin" / "python3")
    await registries.from_pypi(place / "lib", f"{tool.name}{_exactly(tool.wanted)}", paths, interpreter)
    module, function = ENTRIES[tool.name]
    program = place / "bin" / tool.name
    program.parent.mkdir()
    program.write_text(WRAPPER.format(module=module, function=function), encoding="ascii")
    program.chmod(0o755)
    return _installed(place / "lib", tool.name)


FILLS: dict[str, Callable[[pathlib.Path, Tool, Paths], Awaitable[str]]] = {
    "pnpm": _pnpm,
    "yarn": _yarn,
    "bun": _bun,
    "uv": _uv,
    "poetry": _python_tool,
    "pipenv": _python_tool,
}


def _exactly(wanted: str) -> str:
    return f"=={wanted}.*" if wanted else ""


def _installed(target: pathlib.Path, name: str) -> str:
    """The version that a wheel's directory of facts is named after."""
    place = next(iter(target.glob(f"{name}-*.dist-info")), None)
    if place is None:
        raise ProviderError(f"the package has no {name}")
    return place.name.removeprefix(f"{name}-").removesuffix(".dist-info")


def _link(place: pathlib.Path, name: str, script: pathlib.Path) -> None:
    target = place / script
    if (
        pathlib.PurePath(name).name != name
        or not target.resolve().is_relative_to(place.resolve())
        or not target.is_file()
    ):
        raise ProviderError(f"the package has no {name}")
    target.chmod(0o755)
    (place / "bin").mkdir(exist_ok=True)
    (place / "bin" / name).symlink_to(pathlib.Path("..") / script)
