"""What a request leaves open, decided from the files of the source: how to build, what to keep, how to start.

One table, no I/O: `files` maps the names in the working directory to their text ("" for files that are not `READ`).
"""

import dataclasses
import json
import re
import shlex
import tomllib
from collections.abc import Collection, Mapping
from typing import Any

from node_agent.model.spec import Runtime

READ = (
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    ".npmrc",
    "requirements.txt",
    "pyproject.toml",
    "Procfile",
)
NODE_LOCKS = ("package-lock.json", "npm-shrinkwrap.json")
INSTALL_SCRIPTS = frozenset(
    {"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"}
)
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])?\s*([<>=!~;][^@]*)?(\s--hash=\S+)*\s*\\?")
HASH = re.compile(r"\s*--hash=\S+\s*\\?")
NODE_INSTALLS = frozenset({"", "npm ci", "npm install", "npm i"})
PYTHON_INSTALLS = frozenset(
    {""} | {f"{pip} install -r requirements.txt" for pip in ("pip", "pip3", "python -m pip", "python3 -m pip")}
)
STATIC_DIRS = ("dist", "build", "out", "_site", "public")


@dataclasses.dataclass(frozen=True, slots=True)
class Dependencies:
    """A directory that an unchanged lock lets us copy from the previous release; `enough`: then nothing is installed."""

    directory: str
    locks: tuple[str, ...]
    enough: bool


@dataclasses.dataclass(frozen=True, slots=True)
class BuildPlan:
    """`setup` makes the virtual environment unless it was copied; `command` builds; each may be empty."""

    setup: str
    command: str
    reason: str
    dependencies: Dependencies | None = None

    def commands(self, *, copied: bool) -> tuple[str, ...]:
        """What is left to run, in order, when the dependencies were copied or not."""
        if not copied or self.dependencies is None:
            return tuple(filter(None, (self.setup, self.command)))
        return () if self.dependencies.enough else tuple(filter(None, (self.command,)))


def plan_build(runtime: Runtime, build_cmd: str, files: Mapping[str, str], pip: str = "") -> BuildPlan:
    """`pip` is the path of a pip to put into virtual environments when the interpreter has none of its own."""
    if runtime is Runtime.PYTHON:
        return _plan_python(build_cmd, files, pip)
    if build_cmd:
        return BuildPlan("", build_cmd, "build_cmd of the deployment", _node_modules(build_cmd, files))
    if runtime is Runtime.STATIC or "package.json" not in files:
        return BuildPlan("", "", "nothing to build")
    if lock := next((name for name in NODE_LOCKS if name in files), None):
        return BuildPlan("", "npm ci", f"package.json and {lock}", _node_modules(build_cmd, files))
    return BuildPlan("", "npm install", "package.json without a lock file")


def _plan_python(build_cmd: str, files: Mapping[str, str], pip: str) -> BuildPlan:
    kept = _venv(build_cmd, files)
    if build_cmd:
        wants = "requirements.txt" in files or "pyproject.toml" in files or "pip" in build_cmd
        return BuildPlan(
            _make_venv(pip) if wants else "", build_cmd, "build_cmd of the deployment", kept if wants else None
        )
    if "requirements.txt" in files:
        command = ".venv/bin/python -m pip install -r requirements.txt"
        return BuildPlan(_make_venv(pip), command, "requirements.txt", kept)
    if _is_project(files.get("pyproject.toml", "")):
        return BuildPlan(_make_venv(pip), ".venv/bin/python -m pip install .", "pyproject.toml")
    return BuildPlan("", "", "nothing to build")


def _make_venv(pip: str) -> str:
    if not pip:
        return "python3 -m venv .venv"
    return f"python3 -m venv --without-pip .venv && .venv/bin/python {shlex.quote(pip)} install --ignore-installed pip"


def _node_modules(build_cmd: str, files: Mapping[str, str]) -> Dependencies | None:
    lock = next((name for name in NODE_LOCKS if name in files), None)
    if lock is None:
        return None
    package = _json(files.get("package.json", ""))
    links = '"link": true' in files[lock] or "workspaces" in package
    enough = _words(build_cmd) in NODE_INSTALLS and not links and not INSTALL_SCRIPTS & set(_scripts(package))
    locks = tuple(name for name in ("package.json", lock, ".npmrc") if name in files)
    return Dependencies("node_modules", locks, enough)


def _venv(build_cmd: str, files: Mapping[str, str]) -> Dependencies | None:
    """Only for requirements that name packages: a path, an address or another file may have changed unseen."""
    lines = [line.split(" #")[0].strip() for line in files.get("requirements.txt", "").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if "requirements.txt" not in files or not all(PIN.fullmatch(line) or HASH.fullmatch(line) for line in lines):
        return None
    return Dependencies(".venv", ("requirements.txt",), _words(build_cmd) in PYTHON_INSTALLS)


def start_command(runtime: Runtime, run_cmd: str, files: Mapping[str, str]) -> str:
    """The command to start with; "" when nothing says so (or nothing is to be started)."""
    if runtime is Runtime.STATIC:
        return ""
    for line in () if run_cmd else files.get("Procfile", "").splitlines():
        name, colon, command = line.partition(":")
        if colon and name.strip() == "web" and command.strip():
            return command.strip()
    if not run_cmd and runtime is Runtime.NODEJS:
        if "start" in _scripts(_json(files.get("package.json", ""))):
            return "npm start"
        return "node server.js" if "server.js" in files else ""
    return run_cmd


def static_dir(asked: str, *, built: bool, with_index: Collection[str]) -> str | None:
    """Which directory to serve; `with_index` are those of ".", `STATIC_DIRS` that hold an index.html. None: none does.

    After a build its output comes first: the sources of many site builders have an index.html of their own.
    """
    if asked:
        return asked
    order = (*STATIC_DIRS, ".") if built else (".", *STATIC_DIRS)
    return next((name for name in order if name in with_index), None)


def _scripts(package: Mapping[str, Any]) -> Mapping[str, Any]:
    scripts = package.get("scripts")
    return scripts if isinstance(scripts, dict) else {}


def _words(command: str) -> str:
    return " ".join(command.split())


def _json(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_project(text: str) -> bool:
    try:
        return "project" in tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return False
