"""Python: who installs, and how Django, Flask and FastAPI are started where the source leaves no doubt."""

import re
from collections.abc import Mapping

from detection import documents
from detection.choices import NOTHING, Choice, Decision, found

Files = Mapping[str, str]
MARKS = ("requirements.txt", "pyproject.toml", "Pipfile", "uv.lock", "poetry.lock", "setup.py", "manage.py")
NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")
LOCKED = re.compile(r'^name = "([^"]{1,100})"', re.MULTILINE)
EXTRA = re.compile(r"\bfastapi\[[^\]\n]{0,200}standard", re.IGNORECASE)
MODULES = ("app.py", "main.py", "wsgi.py", "asgi.py", "application.py")
MADE = re.compile(
    r"^([A-Za-z_][A-Za-z0-9_]{0,63})\s*(?::[^=\n]+)?=\s*(?:[a-z_]+\.)?(Flask|FastAPI|Starlette)\(", re.MULTILINE
)
PIP = ".venv/bin/python -m pip install"
BIND = "127.0.0.1:$PORT"
HOST = "--host 127.0.0.1 --port $PORT"


def looks(files: Files) -> str:
    return next((name for name in MARKS if name in files), "")


def decide(files: Files) -> Decision:
    manager, install = _install(files)
    return Decision(package_manager=manager, install=install, run=_run(files))


def _install(files: Files) -> tuple[Choice, Choice]:
    document = documents.from_toml(files.get("pyproject.toml", ""))
    if "uv.lock" in files and "pyproject.toml" in files:
        return found("uv", "uv.lock"), found("uv sync --frozen --no-dev", "pyproject.toml and uv.lock")
    if "poetry.lock" in files and "pyproject.toml" in files:
        command = "poetry install --only main --no-interaction"
        return found("poetry", "poetry.lock"), found(command, "pyproject.toml and poetry.lock")
    if "requirements.txt" in files:
        return found("pip", "requirements.txt"), found(f"{PIP} -r requirements.txt", "requirements.txt")
    if "Pipfile.lock" in files:
        return found("pipenv", "Pipfile.lock"), found("pipenv sync", "Pipfile.lock")
    if "Pipfile" in files:
        return found("pipenv", "Pipfile"), found("pipenv install", "Pipfile without Pipfile.lock")
    if documents.table(document, "project") or documents.table(document, "tool", "poetry"):
        return found("pip", "pyproject.toml"), found(f"{PIP} .", "pyproject.toml")
    if "setup.py" in files:
        return found("pip", "setup.py"), found(f"{PIP} .", "setup.py")
    return NOTHING, NOTHING


def _run(files: Files) -> Choice:
    known = packages(files)
    if "manage.py" in files and "django" in known:
        return _django(files, known)
    for module in MODULES:
        match = MADE.search(files.get(module, "")[: documents.MAX_TEXT])
        if match and (choice := _served(module.removesuffix(".py"), match[1], match[2], known, files)):
            return choice
    return NOTHING


def _django(files: Files, known: frozenset[str]) -> Choice:
    """Its own server is for development, so one of the others must be among the packages."""
    places = [name.partition("/")[0] for name in files if name.endswith("/wsgi.py")]
    places = [place for place in places if place.isidentifier()]
    if len(places) != 1:
        return found("", "manage.py and Django, and not exactly one */wsgi.py: set run_cmd")
    if "gunicorn" in known:
        return found(f"gunicorn {places[0]}.wsgi --bind {BIND}", f"Django, gunicorn and {places[0]}/wsgi.py")
    if "uvicorn" in known and f"{places[0]}/asgi.py" in files:
        return found(f"uvicorn {places[0]}.asgi:application {HOST}", f"Django, uvicorn and {places[0]}/asgi.py")
    return found("", "Django without a server for production: add gunicorn to its packages, or set run_cmd")


def _served(module: str, name: str, kind: str, known: frozenset[str], files: Files) -> Choice:
    place = f"{module}:{name}"
    if kind == "Flask":
        if "gunicorn" in known:
            return found(f"gunicorn {place} --bind {BIND}", f"Flask and gunicorn, {name} in {module}.py")
        if "flask" in known:
            return found(
                f"flask --app {place} run {HOST}", f"Flask's own server, {name} in {module}.py; gunicorn is better"
            )
        return NOTHING
    if "uvicorn" in known or _has_standard(files):
        return found(f"uvicorn {place} {HOST}", f"{kind} and uvicorn, {name} in {module}.py")
    return (
        found("", f"{kind} without a server: add uvicorn to the packages, or set run_cmd")
        if kind.lower() in known
        else NOTHING
    )


def _has_standard(files: Files) -> bool:
    return any(
        EXTRA.search(files.get(name, "")[: documents.MAX_TEXT]) for name in ("requirements.txt", "pyproject.toml")
    )


def packages(files: Files) -> frozenset[str]:
    """The names of what is installed, as far as the files say it."""
    found_names = [*documents.lines(files.get("requirements.txt", ""))]
    document = documents.from_toml(files.get("pyproject.toml", ""))
    declared = documents.table(document, "project").get("dependencies")
    found_names += [one for one in declared if isinstance(one, str)] if isinstance(declared, list) else []
    found_names += [*documents.table(document, "tool", "poetry", "dependencies")]
    found_names += [*documents.table(documents.from_toml(files.get("Pipfile", "")), "packages")]
    found_names += LOCKED.findall(files.get("uv.lock", "") + "\n" + files.get("poetry.lock", ""))
    matches = (NAME.match(one) for one in found_names)
    return frozenset(re.sub(r"[-_.]+", "-", match[1]).lower() for match in matches if match)
