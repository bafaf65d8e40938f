"""What a decision means for a build: the commands in order, what an unchanged lock spares, which directory is served.

Pure: `files` maps the names in the working directory to their text, as `detection` reads them.
"""

import dataclasses
import re
import shlex
from collections.abc import Collection, Mapping

from detection import choices, documents
from detection.choices import Decision

GIVEN = frozenset({choices.REQUEST, choices.FILE})
LOCKS = {
    "npm": ("package-lock.json", "npm-shrinkwrap.json"),
    "pnpm": ("pnpm-lock.yaml",),
    "yarn": ("yarn.lock",),
    "bun": ("bun.lock",),
}
# What stands in a lock for a package that is a directory of the source.
LINKS = ('"link": true', "link:", "workspace:", "file:")
PLAIN_INSTALLS = {
    "npm": ("npm ci", "npm install", "npm i"),
    "pnpm": ("pnpm install", "pnpm i", "pnpm install --frozen-lockfile"),
    "yarn": ("yarn", "yarn install", "yarn install --frozen-lockfile"),
    "bun": ("bun install", "bun install --frozen-lockfile"),
}
ENVIRONMENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "pnpm": (("npm_config_package_import_method", "copy"),),
    "uv": (("UV_LINK_MODE", "copy"), ("UV_PYTHON_DOWNLOADS", "never"), ("UV_PYTHON", "python3")),
    "poetry": (("POETRY_VIRTUALENVS_IN_PROJECT", "true"), ("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")),
    "pipenv": (("PIPENV_VENV_IN_PROJECT", "1"), ("PIPENV_NOSPIN", "1"), ("PIPENV_YES", "1")),
    "composer": (("COMPOSER_ALLOW_SUPERUSER", "1"),),
    "go": (("GOTOOLCHAIN", "local"),),
}
INSTALL_SCRIPTS = frozenset(
    {"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"}
)
PIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])?\s*([<>=!~;][^@]*)?(\s--hash=\S+)*\s*\\?")
HASH = re.compile(r"\s*--hash=\S+\s*\\?")
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
    """`setup` makes the virtual environment unless it was copied; `command` installs, or is the whole build as given;
    `after` builds what is installed. Each may be empty.
    """

    setup: str
    command: str
    reason: str
    dependencies: Dependencies | None = None
    after: str = ""

    def commands(self, *, copied: bool) -> tuple[str, ...]:
        """What is left to run, in order, when the dependencies were copied or not."""
        if not copied or self.dependencies is None:
            return tuple(filter(None, (self.setup, self.command, self.after)))
        left = (self.after,) if self.dependencies.enough else (self.command, self.after)
        return tuple(filter(None, left))


def plan_build(decision: Decision, files: Mapping[str, str], pip: str = "") -> BuildPlan:
    """`pip` is the path of a pip to put into virtual environments when the interpreter has none of its own."""
    given = decision.build.value if decision.build.origin in GIVEN else ""
    if decision.runtime.value == "python":
        return _plan_python(decision, given, files, pip)
    if given:
        return BuildPlan("", given, _named(decision), _node_modules(given, decision, files))
    if decision.install:
        kept = _node_modules("", decision, files)
        return BuildPlan("", decision.install.value, decision.install.reason, kept, decision.build.value)
    if decision.build:
        return BuildPlan("", decision.build.value, decision.build.reason)
    return BuildPlan("", "", "nothing to build")


def _plan_python(decision: Decision, given: str, files: Mapping[str, str], pip: str) -> BuildPlan:
    by_pip = decision.package_manager.value in {"", "pip"}
    if given:
        wants = by_pip and ("requirements.txt" in files or "pyproject.toml" in files or "pip" in given)
        kept = _venv(given, files) if wants else None
        return BuildPlan(_make_venv(pip) if wants else "", given, _named(decision), kept)
    if not decision.install:
        return BuildPlan("", "", "nothing to build")
    setup = _make_venv(pip) if by_pip else ""
    kept = _venv("", files) if by_pip else None
    return BuildPlan(setup, decision.install.value, decision.install.reason, kept)


def _named(decision: Decision) -> str:
    of_request = decision.build.origin == choices.REQUEST
    return "build_cmd of the deployment" if of_request else f"build_cmd in {decision.build.reason}"


def tool_env(decision: Decision) -> tuple[tuple[str, str], ...]:
    """What the programs of a build are told, beneath what the deployment tells them: to take what is here, and to copy.

    A hard link into a cache would make a sealed file and the cache's one and the same.
    """
    name = decision.package_manager.value.partition("@")[0]
    return (*ENVIRONMENTS.get(name, ()), *ENVIRONMENTS.get(decision.runtime.value, ()))


def _make_venv(pip: str) -> str:
    if not pip:
        return "python3 -m venv .venv"
    return f"python3 -m venv --without-pip .venv && .venv/bin/python {shlex.quote(pip)} install --ignore-installed pip"


def _node_modules(given: str, decision: Decision, files: Mapping[str, str]) -> Dependencies | None:
    manager = decision.package_manager.value.partition("@")[0]
    lock = next((name for name in LOCKS.get(manager, ()) if files.get(name)), None)
    if lock is None:
        return None
    package = documents.from_json(files.get("package.json", ""))
    links = any(word in files[lock] for word in LINKS) or "workspaces" in package or "pnpm-workspace.yaml" in files
    plain = _words(given) in ("", *PLAIN_INSTALLS[manager])
    enough = plain and not links and not INSTALL_SCRIPTS & set(documents.table(package, "scripts"))
    locks = tuple(name for name in ("package.json", lock, ".npmrc", ".yarnrc.yml") if name in files)
    return Dependencies("node_modules", locks, enough)


def _venv(build_cmd: str, files: Mapping[str, str]) -> Dependencies | None:
    """Only for requirements that name packages: a path, an address or another file may have changed unseen."""
    lines = [line.split(" #")[0].strip() for line in files.get("requirements.txt", "").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if "requirements.txt" not in files or not all(PIN.fullmatch(line) or HASH.fullmatch(line) for line in lines):
        return None
    return Dependencies(".venv", ("requirements.txt",), _words(build_cmd) in PYTHON_INSTALLS)


def static_dir(asked: str, *, built: bool, with_index: Collection[str]) -> str | None:
    """Which directory to serve; `with_index` are those of ".", `STATIC_DIRS` that hold an index.html. None: none does.

    After a build its output comes first: the sources of many site builders have an index.html of their own.
    """
    if asked:
        return asked
    order = (*STATIC_DIRS, ".") if built else (".", *STATIC_DIRS)
    return next((name for name in order if name in with_index), None)


def _words(command: str) -> str:
    return " ".join(command.split())
