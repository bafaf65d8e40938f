"""Version files: which version of a runtime a source asks for, and which file says so."""

import re
from collections.abc import Callable, Mapping

from detection import documents, versions
from detection.choices import NOTHING, Choice, found

Files = Mapping[str, str]
# In files that name several tools, what a runtime is called.
NAMES = {
    "nodejs": ("nodejs", "node"),
    "python": ("python",),
    "go": ("golang", "go"),
    "ruby": ("ruby",),
    "php": ("php",),
    "java": ("java",),
    "dotnet": ("dotnet", "dotnet-core"),
}
RUNTIME_TXT = re.compile(r"(?:[a-z]+-)?([0-9][0-9.]*)(?:\.x)?")
VENDOR = re.compile(r"(?:[a-z]+-)*v?([0-9][0-9.]*).*")
GO_LINE = re.compile(r"^go[ \t]+([0-9.]+)", re.MULTILINE)
GEMFILE_RUBY = re.compile(r"""^[ \t]*ruby[ \t]+["']([^"']+)["']""", re.MULTILINE)
JAVA_POM = re.compile(
    r"<(?:maven\.compiler\.release|java\.version|release|maven\.compiler\.target)>\s*(?:1\.)?([0-9]+)\s*<"
)
JAVA_GRADLE = re.compile(
    r"(?:JavaLanguageVersion\.of\(|JavaVersion\.VERSION_|sourceCompatibility\s*=\s*['\"]?)(?:1[._])?([0-9]+)"
)
DOTNET = re.compile(r"<TargetFramework>\s*net([0-9]+\.[0-9]+)")


def version_of(runtime: str, files: Files) -> Choice:
    """By the first file that says something readable; a file that cannot be read as a version is said, not guessed."""
    unread = NOTHING
    for name, read in (*FILES.get(runtime, ()), *_shared(runtime)):
        said = read(files[name]).strip() if name in files else ""
        if not said:
            continue
        if wanted := versions.normal(said):
            return found(wanted, f"{name} says {said[:60]}")
        unread = unread or found("", f"{name} says {said[:60]}, which leaves it open")
    return unread


def _first(content: str) -> str:
    return next(iter(documents.lines(content)), "")


def _engines(content: str) -> str:
    return documents.text(documents.table(documents.from_json(content), "engines"), "node")


def _runtime_txt(content: str) -> str:
    match = RUNTIME_TXT.fullmatch(_first(content))
    return match[1] if match else ""


def _pyproject(content: str) -> str:
    document = documents.from_toml(content)
    declared = documents.text(documents.table(document, "project"), "requires-python")
    return declared or documents.text(documents.table(document, "tool", "poetry", "dependencies"), "python")


def _pipfile(content: str) -> str:
    wanted = documents.table(documents.from_toml(content), "requires")
    return documents.text(wanted, "python_full_version") or documents.text(wanted, "python_version")


def _go_mod(content: str) -> str:
    """The line names the least version, and a newer one is as good."""
    match = GO_LINE.search(content)
    return f">={match[1]}" if match else ""


def _composer(content: str) -> str:
    wanted = documents.text(documents.table(documents.from_json(content), "require"), "php")
    return wanted.replace("||", "|").replace("|", "||")


def _pattern(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(content: str) -> str:
        match = pattern.search(content)
        return match[1] if match else ""

    return read


def _global_json(content: str) -> str:
    return ".".join(documents.text(documents.table(documents.from_json(content), "sdk"), "version").split(".")[:2])


def _system_properties(content: str) -> str:
    lines = (line.partition("=") for line in documents.lines(content))
    return next(
        (value.strip().removeprefix("1.") for key, _, value in lines if key.strip() == "java.runtime.version"), ""
    )


FILES: dict[str, tuple[tuple[str, Callable[[str], str]], ...]] = {
    "nodejs": ((".nvmrc", _first), (".node-version", _first), ("package.json", _engines)),
    "python": (
        (".python-version", _first),
        ("runtime.txt", _runtime_txt),
        ("pyproject.toml", _pyproject),
        ("Pipfile", _pipfile),
    ),
    "go": (("go.mod", _go_mod), (".go-version", _first)),
    "ruby": (
        (".ruby-version", lambda content: _first(content).removeprefix("ruby-")),
        ("Gemfile", _pattern(GEMFILE_RUBY)),
    ),
    "php": ((".php-version", _first), ("composer.json", _composer)),
    "java": (
        (".java-version", _first),
        ("system.properties", _system_properties),
        ("pom.xml", _pattern(JAVA_POM)),
        ("build.gradle", _pattern(JAVA_GRADLE)),
        ("build.gradle.kts", _pattern(JAVA_GRADLE)),
    ),
    "dotnet": (("global.json", _global_json),),
}


def _shared(runtime: str) -> tuple[tuple[str, Callable[[str], str]], ...]:
    """Files that name several tools."""
    names = NAMES.get(runtime, ())

    def tool_versions(content: str) -> str:
        rows = (line.split() for line in documents.lines(content))
        return next((_bare(row[1]) for row in rows if len(row) > 1 and row[0] in names), "")

    def mise(content: str) -> str:
        tools = documents.table(documents.from_toml(content), "tools")
        for name in names:
            said = tools.get(name)
            said = said[0] if isinstance(said, list) and said else said
            said = said.get("version") if isinstance(said, dict) else said
            if isinstance(said, str | int | float) and not isinstance(said, bool):
                return _bare(str(said))
        return ""

    return ((".tool-versions", tool_versions), ("mise.toml", mise), (".mise.toml", mise))


def _bare(said: str) -> str:
    """`temurin-17.0.2+8` as 17.0.2."""
    match = VENDOR.fullmatch(said)
    return match[1].rstrip(".") if match and not said.startswith("lts") else said
