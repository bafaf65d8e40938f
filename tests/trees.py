"""Real applications as trees of files, each for one way to be detected, built and started; locks by their own tools."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

import pytest

HTTP = """
const http = require("http");
const words = WORDS;
http.createServer((request, response) => response.end(words)).listen(process.env.PORT, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
"""
WITH_PACKAGE = HTTP.replace("WORDS", '"is-number says " + require("is-number")(7)')
EXPRESS = """
const app = require("express")();
app.get("/", (request, response) => response.send("express serves"));
app.listen(process.env.PORT, "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
"""
FLASK = """
from flask import Flask

app = Flask(__name__)


@app.get("/")
def index():
    return "flask serves"
"""
FASTAPI = """
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def index():
    return "fastapi serves"
"""
PYPROJECT = """
[project]
name = "tree"
version = "1.0.0"
requires-python = ">=3.9"
dependencies = ["fastapi", "uvicorn"]
"""
POETRY = """
[tool.poetry]
name = "tree"
version = "1.0.0"
description = ""
authors = []
package-mode = false

[tool.poetry.dependencies]
python = ">=3.9,<4"
"""
STDLIB = """
import http.server
import os


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"poetry serves")


http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Page).serve_forever()
"""
DJANGO_MANAGE = """
import os
import sys

from django.core.management import execute_from_command_line

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
execute_from_command_line(sys.argv)
"""
# Its database stands in its HOME, which outlives releases: what was released is read-only.
DJANGO_SETTINGS = """
import os
import pathlib

SECRET_KEY = "not one"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": pathlib.Path(os.environ["HOME"], "db.sqlite3")},
}
"""
DJANGO_MODELS = """
from django.db import models


class Sale(models.Model):
    of = models.CharField(max_length=20)
"""
DJANGO_MIGRATION = """
from django.db import migrations, models


def sell(apps, editor):
    apps.get_model("shop", "Sale").objects.create(of="one")


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            "Sale", [("id", models.BigAutoField(primary_key=True)), ("of", models.CharField(max_length=20))]
        ),
        migrations.RunPython(sell),
    ]
"""
DJANGO_URLS = """
from django.http import HttpResponse
from django.urls import path

from shop.models import Sale


def sales(request):
    return HttpResponse("django serves " + " and ".join(sale.of for sale in Sale.objects.all()))


urlpatterns = [path("", sales)]
"""
DJANGO_WSGI = """
import os

from django.core.wsgi import get_wsgi_application

os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
application = get_wsgi_application()
"""
GO = """
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "go serves") })
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
"""
RUBY = """
require "socket"
server = TCPServer.new("127.0.0.1", ENV["PORT"].to_i)
trap("TERM") { exit }
loop do
  client = server.accept
  client.gets
  client.write("HTTP/1.0 200 OK\\r\\nContent-Length: 11\\r\\n\\r\\nruby serves")
  client.close
end
"""
VITE_PAGE = '<div id="app"></div><script type="module" src="/main.js"></script>'


def package(**values) -> str:
    return json.dumps({"name": "tree", "version": "1.0.0", "private": True, **values})


def of_manager(**values) -> dict[str, str]:
    return {
        "package.json": package(scripts={"start": "node app.js"}, dependencies={"is-number": "7.0.0"}, **values),
        "app.js": WITH_PACKAGE,
    }


def by_npx(*command: str) -> Callable[[pathlib.Path], None]:
    return lambda tree: _run(["npm", "exec", "--yes", "--", *command], tree)


def npm_lock(tree: pathlib.Path) -> None:
    _run(["npm", "install", "--package-lock-only", "--no-audit", "--no-fund"], tree)


def uv_lock(tree: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", place, "uv"], tree)
        _run([f"{place}/bin/uv", "lock", "--python", sys.executable], tree)


def poetry_lock(tree: pathlib.Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", place, "poetry"], tree)
        code = (
            f"import sys; sys.path.insert(0, {place!r}); from poetry.console.application import main; sys.exit(main())"
        )
        _run([sys.executable, "-c", code, "lock"], tree)


def no_lock(tree: pathlib.Path) -> None:
    """It has what it needs."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tree:
    """`says` is what its page answers, `decided` a part of what the release is reported to be. `needs` are programs."""

    name: str
    files: dict[str, str]
    says: str
    decided: dict[str, str]
    lock: Callable[[pathlib.Path], None] = no_lock
    registry: str = ""
    needs: tuple[str, ...] = ()


TREES = (
    Tree("node-npm", of_manager(), "is-number says true",
         {"runtime": "nodejs", "install": "npm ci", "run_cmd": "npm start"}, npm_lock, "npm"),
    Tree("flask-pip", {"requirements.txt": "flask\n", "app.py": FLASK}, "flask serves",
         {"runtime": "python", "package_manager": "pip"}, registry="pip"),
    Tree("php", {"index.php": "<?php echo 'php serves';"}, "php serves", {"runtime": "php"}, needs=("php",)),
    Tree("node-pnpm", of_manager(), "is-number says true", {"package_manager": "pnpm@10", "run_cmd": "pnpm start"},
         by_npx("pnpm@10", "install", "--lockfile-only"), "npm"),
    Tree("node-yarn", of_manager(), "is-number says true", {"package_manager": "yarn@1", "run_cmd": "yarn start"},
         by_npx("yarn@1", "install", "--ignore-scripts", "--modules-folder", ".left"), "npm"),
    Tree("node-bun", of_manager(packageManager="bun@1.4.5"), "is-number says true",
         {"package_manager": "bun@1.4.5", "run_cmd": "bun run start"}, registry="npm"),
    Tree("express", {"package.json": package(scripts={"start": "node app.js"}, dependencies={"express": "^4"}),
                     "app.js": EXPRESS}, "express serves", {"runtime": "nodejs"}, npm_lock, "npm"),
    Tree("fastapi-uv", {"pyproject.toml": PYPROJECT, "main.py": FASTAPI}, "fastapi serves",
         {"package_manager": "uv", "run_cmd": "uvicorn main:app --host 127.0.0.1 --port $PORT"}, uv_lock, "pip"),
    Tree("go", {"go.mod": "module tree\n\ngo 1.24\n", "main.go": GO}, "go serves",
         {"runtime": "go", "version": ">=1.24", "run_cmd": "./bin/app"}, registry="pip"),
    Tree("ruby", {"Procfile": "web: ruby app.rb\n", "app.rb": RUBY}, "ruby serves", {"runtime": "custom"}, needs=("ruby",)),
    Tree("next", {"package.json": package(scripts={"build": "next build", "start": "next start -H 127.0.0.1"},
                                          dependencies={"next": "^14", "react": "^18", "react-dom": "^18"}),
                  "pages/index.js": "export default function Page() { return <p>next serves</p>; }", ".nvmrc": "20\n"},
         "next serves", {"runtime": "nodejs", "version": "20", "build_cmd": "npm run build"}, npm_lock, "npm"),
    Tree("django", {"requirements.txt": "django\ngunicorn\n", "manage.py": DJANGO_MANAGE, "shop/__init__.py": "",
                    "shop/settings.py": DJANGO_SETTINGS, "shop/urls.py": DJANGO_URLS, "shop/wsgi.py": DJANGO_WSGI,
                    "shop/models.py": DJANGO_MODELS, "shop/migrations/__init__.py": "",
                    "shop/migrations/0001_first.py": DJANGO_MIGRATION, "Procfile": "release: python manage.py migrate\n"},
         "django serves one", {"run_cmd": "gunicorn shop.wsgi --bind 127.0.0.1:$PORT"}, registry="pip"),
    # Without packages: Poetry asks only for those of a registry that is not to be had everywhere.
    Tree("poetry", {"pyproject.toml": POETRY, "app.py": STDLIB, "Procfile": "web: python app.py\n"}, "poetry serves",
         {"package_manager": "poetry", "install": "poetry install --only main --no-interaction"}, poetry_lock, "pip"),
    Tree("flask-pipenv", {"Pipfile": '[packages]\nflask = "*"\n', "app.py": FLASK}, "flask serves" , {"package_manager": "pipenv",
         "run_cmd": "flask --app app:app run --host 127.0.0.1 --port $PORT"}, registry="pip"),
    Tree("vite", {"package.json": package(scripts={"build": "vite build", "dev": "vite"}, devDependencies={"vite": "^5"}),
                  "index.html": VITE_PAGE, "main.js": 'document.title = "vite serves";', ".nvmrc": "22\n"},
         "/assets/", {"runtime": "static", "static_dir": "dist", "build_cmd": "npm run build"}, npm_lock, "npm"),
)  # fmt: skip
# The others take more time than a short run has: five to fifteen seconds each, Next.js and a first Go a minute or two.
SHORT = ("node-npm", "flask-pip", "php")


def chosen() -> list:
    """All of them in the whole form of the tests, some in the short one."""
    trees = TREES if os.environ.get("TEST_ALL") else [tree for tree in TREES if tree.name in SHORT]
    return [pytest.param(tree, id=tree.name) for tree in trees]


def write(tree: Tree, place: pathlib.Path) -> None:
    """Its files and its lock; nothing that an installation left."""
    for name, text in tree.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / ".gitignore").write_text("node_modules\n.left\n")
    tree.lock(place)


def reachable(registry: str) -> bool:
    """Whether packages of it can be had here."""
    commands = {
        "npm": ["npm", "view", "is-number@7.0.0", "version"],
        "pip": [sys.executable, "-m", "pip", "index", "versions", "--quiet", "flask"],
    }
    try:
        return subprocess.run(commands[registry], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: list[str], place: pathlib.Path) -> None:
    subprocess.run(command, cwd=place, check=True, capture_output=True, timeout=110)
