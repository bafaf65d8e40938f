"""Python interpreters of the host. The interpreter itself is called, never a shim: shims start shells and can lie."""

import asyncio
import glob
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

from node_agent.builder import children, programs, registries
from node_agent.model import toolchain
from node_agent.paths import Paths

EXACT = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")  # no pre-releases
NAME = re.compile(r"python3(\.[0-9]+)?")
ASK = "import platform; print(platform.python_version())"
ASK_S = 10.0
PIP_S = 120.0
USUAL_LINE = "3.12"


class Pythons:
    """Finds interpreters; what each said is remembered as long as its file is the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[pathlib.Path, int, int], str] = {}

    def found(self, *, by_all: bool = False) -> dict[str, pathlib.Path]:
        """Exact version → interpreter; of two with one version the first in search order. Blocks.

        `by_all`: only those that every user of this host can run.
        """
        found: dict[str, pathlib.Path] = {}
        for interpreter in dict.fromkeys(_candidates()):
            if by_all and not programs.is_for_all(interpreter):
                continue
            if version := self._version(interpreter):
                found.setdefault(version, interpreter)
        return found

    def _version(self, interpreter: pathlib.Path) -> str:
        try:
            info = interpreter.stat()
            key = (interpreter, info.st_ino, info.st_mtime_ns)
            if key not in self._known:
                self._known[key] = _ask(interpreter)
            return self._known[key]
        except (OSError, subprocess.SubprocessError):
            return ""


async def fill(place: pathlib.Path, exact: str, interpreter: pathlib.Path) -> str:
    """Links to the interpreter; beside them a pip for virtual environments when it cannot bootstrap its own."""
    bin_dir = place / "bin"
    bin_dir.mkdir()
    for name in ("python3", "python"):
        (bin_dir / name).symlink_to(interpreter)
    has_pip = await children.run((str(interpreter), "-I", "-c", "import ensurepip"), dict(os.environ), ASK_S)
    if has_pip.code:
        target = ("--target", str(place / "pip"), "pip")
        command = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", *target)
        await children.run(command, dict(os.environ), PIP_S)
    return exact


def _candidates() -> Iterator[pathlib.Path]:
    """Real paths: a virtual environment's link leads to its base interpreter."""
    for pattern in _patterns():
        for path in sorted(glob.glob(pattern)):  # noqa: PTH207 - patterns are absolute
            if NAME.fullmatch(os.path.basename(path)) and os.access(path, os.X_OK):  # noqa: PTH119 - same
                yield pathlib.Path(path).resolve()


def _patterns() -> Iterator[str]:
    for directory in os.environ.get("PATH", os.defpath).split(":"):
        if directory.startswith("/") and "shims" not in directory.split("/"):
            yield f"{glob.escape(directory)}/python3*"
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")  # noqa: PTH111 - a pattern, not a path
    yield f"{glob.escape(pyenv)}/versions/*/bin/python3"
    yield from (f"{place}/python3" for place in programs.installed(("python",)))
    yield "/usr/local/bin/python3*"
    yield "/usr/bin/python3*"


def _ask(interpreter: pathlib.Path) -> str:
    """Its version, or "" for something else that only has the name."""
    command = [str(interpreter), "-I", "-S", "-c", ASK]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=ASK_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env={"LC_ALL": "C"},
    )
    version = ended.stdout.strip()
    return version if ended.returncode == 0 and EXACT.fullmatch(version) else ""


async def fill_by_uv(place: pathlib.Path, uv: pathlib.Path, version: str, paths: Paths) -> str:
    """A whole interpreter in `place`/pythons, fetched by uv; its exact version. Raises ProviderError."""
    home = place / "pythons"
    command = (str(uv), "python", "install", "--no-bin", "--install-dir", str(home), version or USUAL_LINE)
    bounds = {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "1", "UV_CACHE_DIR": str(place / "cache")}
    await registries.install(command, paths, **bounds)
    shutil.rmtree(place / "cache", ignore_errors=True)
    for interpreter in sorted(home.glob("*/bin/python3")):
        exact = await asyncio.to_thread(_ask, interpreter.resolve())
        if exact and toolchain.satisfies(exact, version):
            (place / "bin").mkdir()
            for name in ("python3", "python"):
                (place / "bin" / name).symlink_to(pathlib.Path("..") / interpreter.relative_to(place))
            return exact
    raise registries.ProviderError(f"gave no working python for {version}")
