"""What the table decides of real-looking trees; how request, file and detection are merged; hostile trees."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection import choices, documents, manifest, merge, source, table, tree, versions
from detection.choices import DETECTED, FILE, REQUEST


def package(**values):
    return json.dumps({"name": "app", "version": "1.0.0", **values})


NODE = package(scripts={"start": "node server.js"}, dependencies={"express": "^4"})
VITE = package(
    scripts={"dev": "vite", "build": "vite build", "preview": "vite preview"}, devDependencies={"vite": "^5"}
)
NEXT = package(scripts={"build": "next build", "start": "next start"}, dependencies={"next": "14", "react": "18"})
FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"
FASTAPI = "import fastapi\n\napi: fastapi.FastAPI = fastapi.FastAPI()\n"
PYPROJECT = (
    '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["fastapi>=0.1", "uvicorn"]\n'
)
POETRY = '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.11"\nflask = "*"\ngunicorn = "*"\n'
DJANGO = {"manage.py": "", "shop/wsgi.py": "", "shop/asgi.py": "", "shop/settings.py": ""}
POM = "<project><properties><java.version>17</java.version></properties><plugin>spring-boot-maven-plugin</plugin></project>"
CSPROJ = '<Project Sdk="Microsoft.NET.Sdk.Web"><TargetFramework>net8.0</TargetFramework></Project>'
PIP = ".venv/bin/python -m pip install"
RUBY = 'source "https://rubygems.example"\nruby "3.1.2"\ngem "puma"\ngem \'rack\'\n'

TREES = [
    # name, files, what is decided
    ("npm with a lock", {"package.json": NODE, "package-lock.json": "{}", "server.js": ""},
     {"runtime": "nodejs", "package_manager": "npm", "install": "npm ci", "run": "npm start"}),
    ("npm without a lock", {"package.json": NODE}, {"install": "npm install", "package_manager": "npm"}),
    ("npm with a shrinkwrap", {"package.json": NODE, "npm-shrinkwrap.json": "{}"}, {"install": "npm ci"}),
    ("pnpm by its lock", {"package.json": NODE, "pnpm-lock.yaml": "lockfileVersion: '9.0'\n"},
     {"package_manager": "pnpm@10", "install": "pnpm install --frozen-lockfile --package-import-method=copy", "run": "pnpm start"}),
    ("pnpm of an old lock", {"package.json": NODE, "pnpm-lock.yaml": "lockfileVersion: '6.0'\n"}, {"package_manager": "pnpm@8"}),
    ("pnpm as declared", {"package.json": package(packageManager="pnpm@9.15.0+sha512.ab", scripts={"start": "x"}), "pnpm-lock.yaml": ""},
     {"package_manager": "pnpm@9.15.0"}),
    ("yarn classic", {"package.json": NODE, "yarn.lock": "# yarn lockfile v1\n"},
     {"package_manager": "yarn@1", "install": "yarn install --frozen-lockfile --non-interactive", "run": "yarn start"}),
    ("yarn berry", {"package.json": NODE, "yarn.lock": "__metadata:\n  version: 8\n", ".yarnrc.yml": ""},
     {"package_manager": "yarn@4", "install": "yarn install --immutable"}),
    ("bun", {"package.json": NODE, "bun.lock": "{}"},
     {"package_manager": "bun", "install": "bun install --frozen-lockfile --backend=copyfile", "run": "bun run start"}),
    ("a declared manager without its lock", {"package.json": package(packageManager="yarn@4.1.0"), "server.js": ""},
     {"package_manager": "yarn@4.1.0", "install": "yarn install --no-immutable", "run": "node server.js"}),
    ("a manager that cannot be read", {"package.json": package(packageManager="yarn@$(id)")}, {"package_manager": "npm"}),
    ("Next.js", {"package.json": NEXT, "package-lock.json": "{}"},
     {"runtime": "nodejs", "build": "npm run build", "run": "npm start"}),
    ("Next.js without a start script", {"package.json": package(dependencies={"next": "14"}, scripts={"build": "next build"})},
     {"build": "npm run build", "run": "next start"}),
    ("main of a package", {"package.json": package(main="./index.js"), "index.js": ""}, {"run": "node index.js"}),
    ("main that is not there", {"package.json": package(main="index.js")}, {"run": ""}),
    ("a lone server.js", {"server.js": ""}, {"runtime": "nodejs", "run": "node server.js", "install": ""}),
    ("Vite", {"package.json": VITE, "package-lock.json": "{}", "index.html": "", ".nvmrc": "20\n"},
     {"runtime": "static", "version": "20", "install": "npm ci", "build": "npm run build", "static_dir": "dist", "run": ""}),
    ("Vite beside a server", {"package.json": package(scripts={"build": "vite build", "start": "node server.js"},
     dependencies={"vite": "5", "express": "4"}), "index.html": ""}, {"runtime": "nodejs", "run": "npm start"}),
    ("Create React App", {"package.json": package(scripts={"start": "react-scripts start", "build": "react-scripts build"},
     dependencies={"react-scripts": "5"}), "yarn.lock": ""}, {"runtime": "static", "static_dir": "build", "build": "yarn run build"}),
    ("requirements.txt", {"requirements.txt": "requests==2\n", "main.py": "print(1)\n"},
     {"runtime": "python", "package_manager": "pip", "install": f"{PIP} -r requirements.txt", "run": ""}),
    ("Flask", {"requirements.txt": "Flask==3.0  # web\n", "app.py": FLASK},
     {"run": "flask --app app:app run --host 127.0.0.1 --port $PORT"}),
    ("Flask with gunicorn", {"requirements.txt": "flask\ngunicorn[gevent]>=20\n", "wsgi.py": "application = flask.Flask('x')\n"},
     {"run": "gunicorn wsgi:application --bind 127.0.0.1:$PORT"}),
    ("Flask by Poetry", {"pyproject.toml": POETRY, "poetry.lock": '[[package]]\nname = "flask"\n', "app.py": FLASK},
     {"package_manager": "poetry", "install": "poetry install --only main --no-interaction", "version": "^3.11",
      "run": "gunicorn app:app --bind 127.0.0.1:$PORT"}),
    ("FastAPI by uv", {"pyproject.toml": PYPROJECT, "uv.lock": '[[package]]\nname = "uvicorn"\n', "main.py": FASTAPI, ".python-version": "3.12\n"},
     {"package_manager": "uv", "install": "uv sync --frozen --no-dev", "version": "3.12",
      "run": "uvicorn main:api --host 127.0.0.1 --port $PORT"}),
    ("FastAPI without a server", {"requirements.txt": "fastapi\n", "main.py": FASTAPI}, {"run": ""}),
    ("FastAPI with its standard extras", {"requirements.txt": "fastapi[standard]\n", "main.py": FASTAPI},
     {"run": "uvicorn main:api --host 127.0.0.1 --port $PORT"}),
    ("Django with gunicorn", {**DJANGO, "requirements.txt": "Django>=4\ngunicorn\n"},
     {"runtime": "python", "run": "gunicorn shop.wsgi --bind 127.0.0.1:$PORT"}),
    ("Django with uvicorn", {**DJANGO, "requirements.txt": "Django>=4\nuvicorn\n"},
     {"run": "uvicorn shop.asgi:application --host 127.0.0.1 --port $PORT"}),
    ("Django without a server", {**DJANGO, "requirements.txt": "Django>=4\n"}, {"run": ""}),
    ("Django with assets", {**DJANGO, "requirements.txt": "django\ngunicorn\n", "package.json": VITE}, {"runtime": "python"}),
    ("pyproject alone", {"pyproject.toml": '[project]\nname = "x"\nversion = "1"\n'}, {"install": f"{PIP} ."}),
    ("setup.py alone", {"setup.py": ""}, {"runtime": "python", "install": f"{PIP} ."}),
    ("Pipfile with its lock", {"Pipfile": '[requires]\npython_version = "3.11"\n', "Pipfile.lock": "{}"},
     {"package_manager": "pipenv", "install": "pipenv sync", "version": "3.11"}),
    ("Pipfile alone", {"Pipfile": "[packages]\n"}, {"install": "pipenv install"}),
    ("Go", {"go.mod": "module x\n\ngo 1.22\n", "main.go": "package main\n", "main_test.go": "package main\n"},
     {"runtime": "go", "version": ">=1.22", "build": "go build -o bin/app .", "run": "./bin/app"}),
    ("Go below cmd", {"go.mod": "module x\n", "lib.go": "package x\n", "cmd/web/main.go": ""},
     {"build": "go build -o bin/app ./cmd/web"}),
    ("Go with two programs", {"go.mod": "module x\n", "cmd/a/main.go": "", "cmd/b/main.go": ""}, {"build": "", "run": ""}),
    ("PHP with composer", {"composer.json": '{"require": {"php": "^8.1", "a/b": "1"}}', "public/index.php": ""},
     {"runtime": "php", "version": "^8.1", "package_manager": "composer", "run": "php -S 127.0.0.1:$PORT -t public"}),
    ("PHP alone", {"index.php": "<?php"}, {"runtime": "php", "install": "", "run": "php -S 127.0.0.1:$PORT -t ."}),
    ("Ruby with puma", {"Gemfile": RUBY, "config.ru": ""},
     {"runtime": "ruby", "version": "3.1.2", "install": "bundle config set --local path vendor/bundle && bundle install", "run": "bundle exec puma -b tcp://127.0.0.1:$PORT"}),
    ("Rails with assets", {"Gemfile": 'gem "rails"\n', "bin/rails": "", "package.json": NODE, ".ruby-version": "ruby-3.2.1\n"},
     {"runtime": "ruby", "version": "3.2.1", "run": "bundle exec rails server -b 127.0.0.1 -p $PORT"}),
    ("Maven and Spring Boot", {"pom.xml": POM},
     {"runtime": "java", "version": "17", "build": "mvn --batch-mode -DskipTests package", "run": "java -Dserver.port=$PORT -jar target/*.jar"}),
    ("Gradle with its wrapper", {"build.gradle.kts": "plugins { java }\n", "gradlew": "", "Procfile": "web: java -jar x.jar\n"},
     {"build": "./gradlew --no-daemon build -x test", "run": "java -jar x.jar"}),
    (".NET", {"Shop.csproj": CSPROJ}, {"runtime": "dotnet", "version": "8.0", "run": "dotnet out/Shop.dll --urls http://127.0.0.1:$PORT"}),
    (".NET with a space", {"My Shop.csproj": CSPROJ}, {"run": "dotnet 'out/My Shop.dll' --urls http://127.0.0.1:$PORT",
     "build": "dotnet publish 'My Shop.csproj' --configuration Release --output out"}),
    ("main with a space", {"package.json": package(main="the app.js"), "the app.js": ""}, {"run": "node 'the app.js'"}),
    ("Go below a strange name", {"go.mod": "module x\n", "cmd/a;b/main.go": ""}, {"build": "go build -o bin/app './cmd/a;b'"}),
    ("files alone", {"index.html": "", "style.css": ""}, {"runtime": "static", "static_dir": ".", "install": ""}),
    ("files in public", {"public/index.html": ""}, {"runtime": "static", "static_dir": "public"}),
    ("a Procfile alone", {"Procfile": "web: ./serve\n"}, {"runtime": "custom", "run": "./serve"}),
    ("nothing known", {"README.md": ""}, {"runtime": "", "run": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("files", "decided"), [row[1:] for row in TREES], ids=[row[0] for row in TREES])
def test_of_a_tree_that_is_decided(files, decided):
    found = table.detect(files)
    assert {name: getattr(found, name).value for name in decided} == decided


@pytest.mark.parametrize("files", [row[1] for row in TREES], ids=[row[0] for row in TREES])
def test_each_value_names_what_it_was_decided_from(files):
    for name, choice in table.detect(files).rows():
        assert choice.reason, name
        assert (choice.origin == DETECTED) == bool(choice.value)


VERSIONS = [
    ("nodejs", {".nvmrc": "v20.11\n"}, "20.11"),
    ("nodejs", {".nvmrc": "lts/iron\n", "package.json": package(engines={"node": ">=18"})}, "20"),
    ("nodejs", {".nvmrc": "lts/*\n", ".node-version": "22.1.0"}, "22.1.0"),
    ("nodejs", {"package.json": package(engines={"node": "^18 || >=20.5"})}, "^18 || >=20.5"),
    ("nodejs", {"package.json": package(engines={"node": 18})}, ""),
    ("nodejs", {".tool-versions": "# tools\nruby 3.1\nnodejs 18.19.0\n"}, "18.19.0"),
    ("nodejs", {"mise.toml": '[tools]\nnode = "22"\n'}, "22"),
    ("nodejs", {"mise.toml": '[tools]\nnode = ["20", "22"]\n'}, "20"),
    ("python", {"mise.toml": '[tools]\npython = {version = "3.11"}\n'}, "3.11"),
    ("python", {".python-version": "3.12.1\n3.11\n"}, "3.12.1"),
    ("python", {"runtime.txt": "python-3.11.x\n"}, "3.11"),
    ("python", {"runtime.txt": "python-3.11.9\n"}, "3.11.9"),
    ("python", {"pyproject.toml": PYPROJECT}, ">=3.11"),
    ("python", {".python-version": "pypy3.10\n"}, ""),
    ("go", {"go.mod": "module x\ngo 1.24.1\ntoolchain go1.25\n"}, ">=1.24.1"),
    ("java", {".tool-versions": "java temurin-17.0.2+8\n"}, "17.0.2"),
    ("java", {"system.properties": "java.runtime.version=11\n"}, "11"),
    ("java", {"build.gradle": "java { toolchain { languageVersion = JavaLanguageVersion.of(21) } }"}, "21"),
    ("dotnet", {"global.json": '{"sdk": {"version": "8.0.100"}}'}, "8.0"),
    ("ruby", {".ruby-version": "3.1.2\n"}, "3.1.2"),
]


@pytest.mark.parametrize(("runtime", "files", "wanted"), VERSIONS)
def test_version_files_are_read(runtime, files, wanted):
    assert table.detect(files, choices.Choice(runtime, REQUEST, "x")).version.value == wanted


@pytest.mark.parametrize(
    ("exact", "wanted", "is_one"),
    [
        ("20.1.0", "20", True),
        ("20.1.0", "20.10", False),
        ("20.1.0", ">=18", True),
        ("20.1.0", "^18 || >=20.5 <23", False),
        ("22.1.0", "^18 || >=20.5 <23", True),
        ("23.0.0", "^18 || >=20.5 <23", False),
        ("3.12.1", ">=3.11,<3.13", True),
        ("3.12.1", "~=3.11", True),
        ("3.12.1", "~=3.11.2", False),
        ("3.12.1", "!=3.12.*", False),
        ("20.3.1", "20.x", True),
        ("18.5.0", "16 - 18", True),
        ("20.1.9", "~20.1", True),
        ("20.2.0", "~20.1", False),
        ("nonsense", "", False),
    ],
)
def test_ranges_mean_what_their_tools_say(exact, wanted, is_one):
    assert versions.satisfies(exact, wanted) == is_one


def test_a_line_of_versions_is_allowed_when_one_of_it_may_be():
    assert versions.allows_line("20", ">=20.9")
    assert not versions.allows_line("18", ">=20.9")
    assert versions.allows_line("3.12", "3.12.1")
    assert not versions.allows_line("3.11", "3.12")


@given(st.text(max_size=60))
def test_whatever_a_version_file_says_is_a_request_or_nothing(text):
    assert versions.is_request(versions.normal(text))


@given(st.dictionaries(st.sampled_from(sorted(table.READ)), st.text(max_size=80), max_size=6))
def test_any_text_in_any_file_is_decided_without_an_error(files):
    for _, choice in table.detect(files).rows():
        assert isinstance(choice.value, str)


def test_dots_in_texts_make_no_document_a_trap():
    long = ", ".join(f'"package-{number}==1.2.{number}"' for number in range(200))
    assert documents.from_toml(f"[project]\ndependencies = [{long}]  # see ...\n")["project"]


DEEP = "[" * 200_000


@pytest.mark.parametrize(
    "name", ["package.json", "composer.json", "pyproject.toml", "Pipfile", "mise.toml", "global.json"]
)
@pytest.mark.parametrize(
    "text",
    [
        *(DEEP, '{"a":' * 50_000, "x" * 2_000_000, "[a]\n" + "b.c" * 90_000, "null", "[]"),
        "[a" + ".a" * 4000 + "]\n" + "".join(f"k{number}.k = 1\n" for number in range(20_000)),
        "".join(f"a{number}" + ".b" * 4000 + " = 1\n" for number in range(30)),
        "".join(f"x{number} = {{a" + ".b" * 4000 + " = 1}\n" for number in range(30)),
    ],
)
def test_a_document_that_is_a_trap_counts_as_empty(name, text):
    assert table.detect({name: text, "server.js": ""}).runtime.value in {"nodejs", "php", "python"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Gemfile", "\n" * 2_000_000),
        ("Gemfile", " " * 2_000_000),
        ("Gemfile", "gem " * 500_000),
        ("requirements.txt", "fastapi[" * 200_000),
        ("requirements.txt", "a" * 3_000_000),
        ("requirements.txt", "\n" * 3_000_000),
        ("uv.lock", 'name = "' * 300_000),
        ("app.py", "a\n" * 900_000),
        ("app.py", "a" + "\n" * 900_000),
        ("app.py", "a:" * 900_000),
        ("go.mod", "go " * 900_000),
        ("main.go", "package\n" * 300_000),
        ("pom.xml", "<release> " * 300_000),
        ("build.gradle", "sourceCompatibility " * 100_000),
        ("build.gradle", "sourceCompatibility" + " " * 1_000_000),
        ("Procfile", "a:" * 900_000),
        ("Procfile", "web: x\n" * 300_000),
        (".nvmrc", "1.1" * 900_000),
        (".tool-versions", "nodejs " + "a-" * 500_000),
        ("package.json", '{"engines": {"node": "' + "1 " * 400_000 + '"}}'),
        ("package.json", '{"packageManager": "npm@' + "1." * 400_000 + '"}'),
        ("pnpm-lock.yaml", "lockfileVersion: " * 300_000),
    ],
)
def test_long_texts_that_almost_fit_take_no_longer_than_others(name, text):
    """Each would take hours with a pattern that looks at a place again and again."""
    files = {name: text, "pyproject.toml": "", "go.mod": text if name == "main.go" else "", "server.js": ""}
    for runtime in ("", "nodejs", "python", "go", "ruby", "java"):
        asked = choices.Choice(runtime, REQUEST, "x") if runtime else choices.NOTHING
        assert table.detect({**files, name: text}, asked).rows()


def test_the_procfile_gives_processes_and_wins_over_what_looks_right():
    files = {
        "Procfile": "web: gunicorn x\nworker: python w.py\nbad line\nweb: other\n",
        "requirements.txt": "flask\n",
        "app.py": FLASK,
    }
    found = table.detect(files)
    assert found.run.value == "gunicorn x"
    assert [(name, one.value) for name, one in found.processes] == [("worker", "python w.py")]


def test_a_line_of_the_procfile_that_names_no_process_is_told():
    found = table.detect({"Procfile": "web: x\nmy_worker: y\nclock:\n# a: b\n"})
    assert found.processes == ()
    assert [note.split()[1] for note in found.notes] == ["my_worker", "clock"]


@pytest.mark.parametrize("command", ["x" * 5000, "a \0 b", "a \x1b[31m b"])
def test_a_command_that_no_request_may_have_is_not_taken_from_a_procfile(command):
    found = table.detect({"Procfile": f"web: {command}\nworker: fine\n"})
    assert (found.run.value, [name for name, _ in found.processes]) == ("", ["worker"])
    assert "web cannot be used" in found.notes[0]


def test_what_else_it_could_be_is_told():
    notes = table.detect({**DJANGO, "requirements.txt": "django", "package.json": NODE}).notes
    assert notes == ("package.json would make it nodejs: set runtime to have that",)


def test_the_request_wins_over_the_file_and_the_file_over_detection():
    files = {"package.json": NODE, "package-lock.json": "{}", ".nvmrc": "18", "Procfile": "worker: a\nclock: b\n"}
    said = manifest.parse(
        {"dployr.yaml": "version: 20\nrun_cmd: node of-file.js\nprocesses: {worker: c}\nbuild_cmd: make\n"}
    )
    found = merge.decide(files, said, {"run_cmd": "node of-request.js", "processes.clock": "d"})
    origins = {name: (choice.value, choice.origin) for name, choice in found.rows()}
    assert origins["run"] == ("node of-request.js", REQUEST)
    assert origins["version"] == ("20", FILE)
    assert origins["runtime"] == ("nodejs", DETECTED)
    assert origins["build"] == ("make", FILE)
    assert "install" not in origins
    assert origins["processes.worker"] == ("c", FILE)
    assert origins["processes.clock"] == ("d", REQUEST)


def test_a_version_in_the_file_does_not_follow_a_runtime_of_the_request():
    said = manifest.parse({"dployr.yaml": "runtime: nodejs\nversion: 20\n"})
    assert merge.decide({".python-version": "3.12"}, said, {"runtime": "python"}).version.value == "3.12"


# trees on disk


def test_a_tree_is_read_as_the_table_needs_it(tmp_path):
    for name, text in {"package.json": NODE, "notes.md": "long", "shop/wsgi.py": "x", "cmd/web/main.go": "y"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert tree.files_of(tmp_path) == {
        "package.json": NODE, "notes.md": "", "shop/wsgi.py": "", "cmd/web/main.go": "",
    }  # fmt: skip


def test_links_out_of_the_tree_pipes_and_huge_files_are_not_read(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret").write_text("flask")
    (inside / "requirements.txt").symlink_to("../secret")
    (inside / "Pipfile").symlink_to("loop")
    (inside / "loop").symlink_to("Pipfile")
    os.mkfifo(inside / "pyproject.toml")
    with (inside / "package.json").open("wb") as file:
        file.truncate(tree.MAX_READ + 1)
    (inside / "real.txt").write_text("20")
    (inside / ".nvmrc").symlink_to("real.txt")
    assert tree.files_of(inside) == {".nvmrc": "20", "real.txt": ""}


def test_a_manifest_that_is_too_long_is_refused_and_not_left_out(tmp_path):
    with (tmp_path / "dployr.yaml").open("wb") as file:
        file.truncate(tree.MAX_READ * 4)
    with pytest.raises(manifest.ManifestError, match="longer than 64 KiB"):
        source.decide(tmp_path, {})


def test_a_name_that_cannot_be_written_down_is_in_no_command(tmp_path):
    (tmp_path / os.fsdecode(b"a\xff.csproj")).write_text(CSPROJ)
    (tmp_path / "a\nb.csproj").write_text(CSPROJ)
    assert tree.files_of(tmp_path) == {}


def test_a_source_of_very_many_processes_is_refused(tmp_path):
    lines = "".join(f"p{number}: x\n" for number in range(source.MAX_PROCESSES))
    (tmp_path / "Procfile").write_text("web: x\n" + lines)
    assert len(source.decide(tmp_path, {}).decision.processes) == source.MAX_PROCESSES
    with pytest.raises(manifest.ManifestError, match=r"33 processes beside web; at most 32"):
        source.decide(tmp_path, {"processes.one-more": "x"})


def test_a_manifest_below_the_one_that_leads_there_is_refused(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/dployr.toml").write_text("port = 80\n")
    (tmp_path / "dployr.yaml").write_text("working_dir: app\n")
    with pytest.raises(manifest.ManifestError, match=r"dployr.yaml and app/dployr.toml: .*delete one of them"):
        source.decide(tmp_path, {})
    assert source.decide(tmp_path, {"working_dir": "app"}).said.file == "dployr.toml"


def test_a_working_directory_stays_inside(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root/out").symlink_to("/")
    for bad in ("..", "out", "missing"):
        with pytest.raises(NotADirectoryError):
            tree.files_of(tmp_path / "root", bad)


def test_of_very_many_files_some_are_looked_at(tmp_path):
    for number in range(tree.MAX_ENTRIES + 50):
        (tmp_path / f"{number}").touch()
    (tmp_path / "package.json").write_text(NODE)
    found = tree.files_of(tmp_path)
    assert tree.MAX_ENTRIES <= len(found) <= tree.MAX_ENTRIES + 1
    assert found["package.json"] == NODE


def test_of_very_much_text_some_is_read(tmp_path):
    locks = ("package-lock.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock", "uv.lock", "poetry.lock", "composer.lock")
    for name in locks:
        with (tmp_path / name).open("wb") as file:
            file.truncate(tree.MAX_READ)
    (tmp_path / "go.mod").write_text("module x\n")
    found = tree.files_of(tmp_path)
    assert found["go.mod"] == "module x\n"
    assert sum(map(len, found.values())) <= tree.MAX_TOTAL < len(locks) * tree.MAX_READ
