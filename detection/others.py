"""Go, Ruby, PHP, Java and .NET: the few commands that their own tools give, and only where they are certain."""

import re
import shlex
from collections.abc import Mapping

from detection import documents
from detection.choices import NOTHING, Choice, Decision, found

Files = Mapping[str, str]
BINARY = "bin/app"
GO_MAIN = re.compile(r"^package\s+main\b", re.MULTILINE)
GEM = re.compile(r"""^[ \t]*gem[ \t]+["']([A-Za-z0-9_.-]+)["']""", re.MULTILINE)
LOCKED_GEM = re.compile(r"^ {4}([A-Za-z0-9_.-]+) \(", re.MULTILINE)
SPRING = ("spring-boot-maven-plugin", "org.springframework.boot")


def decide_go(files: Files) -> Decision:
    if any(GO_MAIN.search(text[:4096]) for name, text in files.items() if name.endswith(".go") and "/" not in name):
        place, why = ".", "package main in the directory of go.mod"
    else:
        mains = sorted(
            name.removesuffix("/main.go") for name in files if name.startswith("cmd/") and name.endswith("/main.go")
        )
        if len(mains) != 1:
            return Decision(run=found("", "go.mod, and not exactly one program: set build_cmd and run_cmd"))
        place, why = shlex.quote(f"./{mains[0]}"), f"{mains[0]}/main.go"
    return Decision(build=found(f"go build -o {BINARY} {place}", why), run=found(f"./{BINARY}", "what the build makes"))


def decide_ruby(files: Files) -> Decision:
    gems = frozenset(GEM.findall(files.get("Gemfile", "")) + LOCKED_GEM.findall(files.get("Gemfile.lock", "")))
    command = "bundle config set --local path vendor/bundle && bundle install"
    install = found(command, "Gemfile and Gemfile.lock" if "Gemfile.lock" in files else "Gemfile")
    return Decision(package_manager=found("bundler", "Gemfile"), install=install, run=_ruby_run(files, gems))


def _ruby_run(files: Files, gems: frozenset[str]) -> Choice:
    if "rails" in gems and "bin/rails" in files:
        return found("bundle exec rails server -b 127.0.0.1 -p $PORT", "rails in the Gemfile and bin/rails")
    if "config.ru" in files and "puma" in gems:
        return found("bundle exec puma -b tcp://127.0.0.1:$PORT", "config.ru and puma in the Gemfile")
    if "config.ru" in files and gems & {"rackup", "rack"}:
        return found("bundle exec rackup -o 127.0.0.1 -p $PORT", "config.ru and rackup in the Gemfile")
    return NOTHING


def decide_php(files: Files) -> Decision:
    command = "composer install --no-dev --no-interaction --no-progress --optimize-autoloader"
    wants = bool(documents.table(documents.from_json(files.get("composer.json", "")), "require").keys() - {"php"})
    wants = wants or "composer.lock" in files
    root = next((root for root in ("public", "web", ".") if _index(root) in files), "")
    return Decision(
        package_manager=found("composer", "composer.json") if wants else NOTHING,
        install=found(command, "composer.json") if wants else NOTHING,
        run=found(f"php -S 127.0.0.1:$PORT -t {root}", f"{_index(root)} and PHP's own server") if root else NOTHING,
    )


def _index(root: str) -> str:
    return "index.php" if root == "." else f"{root}/index.php"


def decide_java(files: Files) -> Decision:
    if "pom.xml" in files:
        tool = "./mvnw" if "mvnw" in files else "mvn"
        build = found(f"{tool} --batch-mode -DskipTests package", "pom.xml")
        jars, spring = "target", any(word in files["pom.xml"] for word in SPRING)
    elif not any(name in files for name in ("build.gradle", "build.gradle.kts")):
        return Decision()
    else:
        script = "build.gradle" if "build.gradle" in files else "build.gradle.kts"
        spring = any(word in files[script] for word in SPRING)
        tool = "./gradlew" if "gradlew" in files else "gradle"
        build = found(f"{tool} --no-daemon {'bootJar' if spring else 'build -x test'}", script)
        jars = "build/libs"
    run = found(f"java -Dserver.port=$PORT -jar {jars}/*.jar", "Spring Boot") if spring else NOTHING
    return Decision(package_manager=found(tool.removeprefix("./"), build.reason), build=build, run=run)


def decide_dotnet(files: Files) -> Decision:
    projects = sorted(name for name in files if name.endswith((".csproj", ".fsproj")) and "/" not in name)
    if len(projects) != 1:
        return Decision(run=found("", f"{len(projects)} projects beside each other: set build_cmd and run_cmd"))
    name = projects[0].rpartition(".")[0]
    build = found(f"dotnet publish {shlex.quote(projects[0])} --configuration Release --output out", projects[0])
    run = NOTHING
    if "Microsoft.NET.Sdk.Web" in files[projects[0]]:
        run = found(
            f"dotnet {shlex.quote(f'out/{name}.dll')} --urls http://127.0.0.1:$PORT", f"{projects[0]} is a web project"
        )
    return Decision(package_manager=found("dotnet", projects[0]), build=build, run=run)
