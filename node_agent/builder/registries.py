"""Packages of programs from PyPI and npm, for toolchains: fetched and checked by the registries' own clients.

Each client compares what it got with the checksum that its registry states. The operator's environment counts:
registries, proxies and certificates are configured there.
"""

import json
import os
import pathlib
import shutil
import sys
from typing import Any

from node_agent.builder import children
from node_agent.model import toolchain
from node_agent.paths import Paths

INSTALL_S = 600.0


class ProviderError(Exception):
    """This provider does not have it; the next one is asked."""


def line(version: str, known: tuple[str, ...], usual: str) -> str:
    """What to ask a registry for. Raises ProviderError when it has nothing that `version` allows."""
    found = toolchain.line_for(version, known, usual)
    if not found:
        raise ProviderError(f"has no version in {version}")
    return found


async def from_pypi(target: pathlib.Path, wanted: str, paths: Paths, *options: str) -> None:
    """Unpack wheels into `target`; nothing of them is run."""
    quiet = ("--quiet", "--no-compile", "--only-binary=:all:", "--no-cache-dir", "--disable-pip-version-check")
    program = (sys.executable, "-m", "pip")
    python = ("--python", options[0]) if options else ()
    await install((*program, *python, "install", *quiet, *options[1:], "--target", str(target), wanted), paths)


async def from_npm(place: pathlib.Path, wanted: str, paths: Paths) -> pathlib.Path:
    """The node_modules with the package, put there by any npm that this host has; `place`/scratch is to be deleted."""
    npm = shutil.which("npm") or next(iter(sorted(map(str, paths.toolchains.glob("node-*/bin/npm")))), None)
    if npm is None:
        raise ProviderError("is not installed")
    scratch = place / "scratch"
    scratch.mkdir(exist_ok=True)
    # A cache of its own, thrown away with the rest: builds can write to the shared one.
    options = ("--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--cache", str(scratch / "cache"))
    await install((npm, "install", "--prefix", str(scratch), *options, wanted), paths, first=os.path.dirname(npm))  # noqa: PTH120
    return scratch / "node_modules"


async def install(command: tuple[str, ...], paths: Paths, first: str = "", **more: str) -> None:
    """Run a registry's client, `first` in front of its PATH. Raises ProviderError with what it said, ChildTimeoutError."""
    paths.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = ":".join(filter(None, (first, os.environ.get("PATH", os.defpath))))
    ended = await children.run(command, {**os.environ, "PATH": path, **more}, INSTALL_S, paths.cache)
    if ended.code:
        raise ProviderError(_reason(ended))


def take(source: pathlib.Path, target: pathlib.Path) -> None:
    """Move a part of a package to its place. Raises ProviderError when the package has none."""
    if not source.exists():
        raise ProviderError(f"the package has no {source.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)


def described(package: pathlib.Path) -> dict[str, Any]:
    """The package.json of an installed package."""
    try:
        found = json.loads((package / "package.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ProviderError(f"the package {package.name} has no package.json") from error
    return found if isinstance(found, dict) else {}


def _reason(ended: children.Ended) -> str:
    """The line that says why; npm ends with where its own log is."""
    lines = [line for line in ended.stderr.splitlines() if line.strip() and "log" not in line]
    return lines[-1].strip()[:500] if lines else ended.last_line
