"""Node: the package manager by what the source locks with, the scripts of package.json, sites that a build makes."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

from detection import documents
from detection.choices import NOTHING, Choice, Decision, found

Files = Mapping[str, str]
LOCKS = (
    ("pnpm-lock.yaml", "pnpm"),
    ("yarn.lock", "yarn"),
    ("bun.lock", "bun"),
    ("bun.lockb", "bun"),
    ("package-lock.json", "npm"),
    ("npm-shrinkwrap.json", "npm"),
)
DECLARED = re.compile(r"(npm|pnpm|yarn|bun)@([0-9]{1,4}(?:\.[0-9]{1,4}){0,2})(?:[+-].*)?")
PNPM_LOCK = re.compile(r"^lockfileVersion:\s*'?([0-9]+)", re.MULTILINE)
PNPM_OF_LOCK = {"9": "10", "6": "8", "5": "7"}
FROZEN = {
    "npm": "npm ci",
    "pnpm": "pnpm install --frozen-lockfile --package-import-method=copy",
    "yarn": "yarn install --frozen-lockfile --non-interactive",
    "yarn berry": "yarn install --immutable",
    "bun": "bun install --frozen-lockfile --backend=copyfile",
}
LOOSE = {
    "npm": "npm install",
    "pnpm": "pnpm install --no-frozen-lockfile --package-import-method=copy",
    "yarn": "yarn install --non-interactive",
    "yarn berry": "yarn install --no-immutable",
    "bun": "bun install --backend=copyfile",
}
# What makes a site without a server: its package, the words its development server starts with, and where it builds to.
SITES = (
    ("vite", ("vite",), "dist"),
    ("astro", ("astro",), "dist"),
    ("react-scripts", ("react-scripts",), "build"),
    ("@11ty/eleventy", ("eleventy",), "_site"),
    ("gatsby", ("gatsby",), "public"),
    ("@docusaurus/core", ("docusaurus",), "build"),
)
# Packages that answer requests by themselves: with one of them it is no site of files.
SERVERS = (
    "express",
    "fastify",
    "koa",
    "@hapi/hapi",
    "next",
    "nuxt",
    "@nestjs/core",
    "@sveltejs/kit",
    "@remix-run/node",
    "hono",
)
MAINS = ("server.js", "server.mjs")


def looks(files: Files) -> str:
    return next((name for name in ("package.json", *MAINS) if name in files), "")


def site_of(files: Files) -> tuple[str, str]:
    """(package, directory) of a source that is built to a site of files; empty for every other one."""
    package = documents.from_json(files.get("package.json", ""))
    known = _packages(package)
    scripts = documents.table(package, "scripts")
    if not documents.text(scripts, "build") or any(one in known for one in (*SERVERS, "@astrojs/node")):
        return "", ""
    if "Procfile" in files or any(name in files for name in MAINS):
        return "", ""
    for name, words, directory in SITES:
        start = documents.text(scripts, "start")
        if name in known and (not start or start.split()[0] in words):
            return name, directory
    return "", ""


def decide(files: Files) -> Decision:
    """Of an application that node runs."""
    made = _made(files)
    package = documents.from_json(files.get("package.json", ""))
    return Decision(
        package_manager=made.package_manager, install=made.install, build=made.build, run=_run(files, package)
    )


def decide_site(files: Files) -> Decision:
    """Of a site whose files a build makes."""
    made, (name, directory) = _made(files), site_of(files)
    if not directory:
        return Decision(static_dir=NOTHING)
    return Decision(
        package_manager=made.package_manager,
        install=made.install,
        build=made.build,
        static_dir=found(directory, f"{name} builds to it"),
    )


def manager_of(files: Files) -> Choice:
    """The package manager and, where the source names it, its version."""
    package = documents.from_json(files.get("package.json", ""))
    declared = DECLARED.fullmatch(documents.text(package, "packageManager"))
    if declared:
        return found(f"{declared[1]}@{declared[2]}", "packageManager in package.json")
    for lock, name in LOCKS:
        if lock in files:
            return found(_with_version(name, files), lock)
    return found("npm", "no lock file") if "package.json" in files else NOTHING


def _with_version(name: str, files: Files) -> str:
    if name == "pnpm" and (match := PNPM_LOCK.search(files["pnpm-lock.yaml"][:4096])):
        return f"pnpm@{PNPM_OF_LOCK.get(match[1], '10')}"
    if name == "yarn":
        return "yarn@4" if _is_berry(files) else "yarn@1"
    return name


def _is_berry(files: Files) -> bool:
    return ".yarnrc.yml" in files or "__metadata:" in files.get("yarn.lock", "")[:4096]


def _made(files: Files) -> Decision:
    manager = manager_of(files)
    if not manager:
        return Decision()
    name, _, version = manager.value.partition("@")
    style = "yarn berry" if name == "yarn" and (version.split(".")[0] not in {"", "0", "1"}) else name
    lock = next((one for one, of in LOCKS if of == name and one in files), "")
    install = (
        found(FROZEN[style], f"package.json and {lock}")
        if lock
        else found(LOOSE[style], "package.json without a lock file")
    )
    scripts = documents.table(documents.from_json(files.get("package.json", "")), "scripts")
    build = (
        found(f"{name} run build", "package.json has a build script") if documents.text(scripts, "build") else NOTHING
    )
    return Decision(package_manager=manager, install=install, build=build)


def _run(files: Files, package: Mapping[str, Any]) -> Choice:
    name = manager_of(files).value.partition("@")[0]
    if documents.text(documents.table(package, "scripts"), "start"):
        return found(f"{name} start" if name != "bun" else "bun run start", "package.json has a start script")
    if "next" in _packages(package):
        return found("next start", "package.json has next, and no start script")
    main = documents.text(package, "main").removeprefix("./")
    if main in files and main.endswith((".js", ".mjs", ".cjs")):
        return found(f"node {shlex.quote(main)}", "main in package.json")
    server = next((one for one in MAINS if one in files), "")
    return found(f"node {server}", f"{server} is there") if server else NOTHING


def _packages(package: Mapping[str, Any]) -> frozenset[str]:
    return frozenset({*documents.table(package, "dependencies"), *documents.table(package, "devDependencies")})
