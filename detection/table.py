"""The one table: which files make a runtime, and what its rules decide. Pure; the first row that looks right counts.

The order is that of what a source is rarely without meaning it: a Rails or Django application has a package.json for its
assets, and nobody has a Gemfile for a Node application.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping

from detection import documents, fields, node, others, python, version_files
from detection.choices import NOTHING, Choice, Decision, found

Files = Mapping[str, str]
PROCESS = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,31})[ \t]*:[ \t]*(\S.*)")
MISNAMED = re.compile(r"([^\s:#]{1,64})[ \t]*:.*")
# Names whose text decisions are made from; of the others only that they are there.
READ = frozenset(
    {
        *(
            "package.json",
            "package-lock.json",
            "npm-shrinkwrap.json",
            "pnpm-lock.yaml",
            "yarn.lock",
            "bun.lock",
            ".npmrc",
        ),
        *(
            ".yarnrc.yml",
            "pnpm-workspace.yaml",
            "requirements.txt",
            "pyproject.toml",
            "uv.lock",
            "poetry.lock",
            "Pipfile",
        ),
        *("Pipfile.lock", "Procfile", "go.mod", "go.sum", "composer.json", "composer.lock", "Gemfile", "Gemfile.lock"),
        *("pom.xml", "build.gradle", "build.gradle.kts", "global.json", "system.properties"),
        *(".nvmrc", ".node-version", ".python-version", "runtime.txt", ".go-version", ".ruby-version", ".php-version"),
        *(".java-version", ".tool-versions", "mise.toml", ".mise.toml", *python.MODULES),
    }
)
MAX_LINES = 1000
READ_ENDINGS = (".go", ".csproj", ".fsproj")
# Below the directory itself only these count, one level down (of cmd two).
DEEPER = frozenset({"wsgi.py", "asgi.py", "index.php", "main.go", "rails", "index.html"})


def is_read(name: str) -> bool:
    return name in READ or ("/" not in name and name.endswith(READ_ENDINGS))


def _has(*names: str) -> Callable[[Files], str]:
    return lambda files: next((name for name in names if name in files), "")


def _project(files: Files) -> str:
    return next((name for name in sorted(files) if name.endswith((".csproj", ".fsproj")) and "/" not in name), "")


def _site(files: Files) -> str:
    return "package.json" if node.site_of(files)[1] else ""


def _plain_site(files: Files) -> Decision:
    if _site(files):
        return node.decide_site(files)
    return Decision(package_manager=node.manager_of(files), static_dir=_index(files))


def _index(files: Files) -> Choice:
    places = [".", "public", "dist", "build", "out", "_site", "site"]
    where = next((place for place in places if ("index.html" if place == "." else f"{place}/index.html") in files), "")
    return found(where, f"{where}/index.html".removeprefix("./")) if where else NOTHING


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """`looks` names the file that makes a source one of these, or says ""."""

    runtime: str
    looks: Callable[[Files], str]
    decide: Callable[[Files], Decision]


TABLE = (
    Row("ruby", _has("Gemfile"), others.decide_ruby),
    Row("php", _has("composer.json"), others.decide_php),
    Row("go", _has("go.mod"), others.decide_go),
    Row("java", _has("pom.xml", "build.gradle", "build.gradle.kts"), others.decide_java),
    Row("dotnet", _project, others.decide_dotnet),
    Row("python", python.looks, python.decide),
    Row("static", _site, _plain_site),
    Row("nodejs", node.looks, node.decide),
    Row("php", _has("index.php", "public/index.php"), others.decide_php),
    Row("static", lambda files: _index(files).reason, _plain_site),
    Row("custom", lambda files: "Procfile" if processes(files) else "", lambda _: Decision()),
)


def detect(files: Files, runtime: Choice = NOTHING) -> Decision:
    """What `files` say. A `runtime` that was chosen already is kept, and its rules are asked."""
    seen = [(row, mark) for row in TABLE if (mark := row.looks(files))]
    if runtime:
        row = next((row for row in TABLE if row.runtime == runtime.value), None)
    else:
        row = seen[0][0] if seen else None
        runtime = found(seen[0][0].runtime, seen[0][1]) if seen else found("", "no file that is known: set runtime")
    decided = row.decide(files) if row is not None else Decision()
    types = processes(files)
    run = found(types["web"], "web in the Procfile") if "web" in types else decided.run
    if not run and not run.reason and runtime.value not in {"", "static"}:
        run = found("", "nothing says how it is started: set run_cmd, or add a Procfile with `web: …`")
    return dataclasses.replace(
        decided,
        runtime=runtime,
        version=_version(runtime.value, decided, files),
        run=NOTHING if runtime.value == "static" else run,
        processes=tuple((name, found(types[name], "Procfile")) for name in sorted(types) if name != "web"),
        notes=tuple(_notes(runtime, seen, files)),
    )


def processes(files: Files) -> dict[str, str]:
    """The lines of the Procfile, by name; the first of a name counts."""
    found_types: dict[str, str] = {}
    for line in files.get("Procfile", "")[: documents.MAX_TEXT].splitlines():
        if match := _process(line):
            found_types.setdefault(match[1].lower(), match[2].strip())
    return found_types


def _process(line: str) -> re.Match[str] | None:
    """Of a line that names a process, and a command such as a request may have."""
    match = PROCESS.fullmatch(line.strip())
    return match if match and fields.is_command(match[2].strip()) else None


def _version(runtime: str, decided: Decision, files: Files) -> Choice:
    """Of a site that is built it is that of the node which builds it."""
    if runtime == "static":
        return version_files.version_of("nodejs", files) if decided.install else NOTHING
    if runtime == "dotnet":
        project = _project(files)
        match = version_files.DOTNET.search(files.get(project, ""))
        if match:
            return found(match[1], f"TargetFramework in {project}")
    return version_files.version_of(runtime, files)


def _notes(runtime: Choice, seen: list[tuple[Row, str]], files: Files) -> list[str]:
    others_seen = {row.runtime: mark for row, mark in seen if row.runtime != runtime.value}
    others_seen = {name: mark for name, mark in others_seen.items() if mark not in runtime.reason}
    lines = files.get("Procfile", "")[: documents.MAX_TEXT].splitlines()[:MAX_LINES]
    bad = [match[1] for line in lines if (match := MISNAMED.fullmatch(line)) and not _process(line)]
    named = [f"Procfile: {name} cannot be used: a name of letters, digits and -, and a command" for name in bad[:3]]
    return named + [f"{mark} would make it {name}: set runtime to have that" for name, mark in others_seen.items()]
