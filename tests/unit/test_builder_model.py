"""The builder's decisions: sources, versions, detection."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection import manifest, merge
from node_agent.model import detect, source, toolchain
from node_agent.model.spec import Runtime

C1, C2, C3 = "1" * 40, "2" * 40, "3" * 40


def test_ordinary_sources_pass():
    assert source.remote_issue("https://git.example.test:8443/a/b.git", allow_file=False) == ""
    assert source.remote_issue("file:///srv/a.git", allow_file=True) == ""
    assert source.branch_issue("feature/x-1.0_b") == ""


def test_refusals_say_why():
    assert "--allow-file-remotes" in source.remote_issue("file:///srv/a", allow_file=False)
    assert "credentials" in source.remote_issue("https://a:b@c.test/d", allow_file=True)
    assert source.remote_issue("ext::sh -c id", allow_file=True)


@given(st.text(max_size=60))
def test_nothing_that_passes_can_be_an_option_or_hold_blanks(text):
    if not source.branch_issue(text):
        assert not text.startswith("-") and text.isascii() and text.split() == [text] and ".." not in text
    if not source.remote_issue(text, allow_file=True):
        assert text.startswith(("https://", "file:///"))


def test_a_branch_wins_over_a_tag_and_a_peeled_tag_over_its_object():
    listing = f"{C1}\trefs/tags/x\n{C2}\trefs/tags/x^{{}}\n{C3}\trefs/heads/x\n"
    assert source.commit_of(listing, "x") == C3
    assert source.commit_of(listing.replace("heads/x", "heads/y"), "x") == C2


def test_a_name_that_only_ends_alike_is_no_match():
    assert source.commit_of(f"{C1}\trefs/remotes/refs/heads/x\n", "x") is None
    assert source.commit_of("warning\nnot a commit\trefs/heads/x\n", "x") is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("20", "20.18.0"), ("20.9", "20.9.1"), ("20.9.1", "20.9.1"), ("2", None), ("20.1", None), ("", "22.1.0")],
)
def test_a_line_means_its_newest_version(wanted, found):
    assert toolchain.newest(["20.9.1", "20.18.0", "22.1.0", "16.1.0", "x"], wanted, (18,)) == found


def test_too_old_versions_count_only_when_asked_for():
    assert toolchain.newest(["16.1.0"], "", (18,)) is None
    assert toolchain.newest(["16.1.0"], "16", (18,)) == "16.1.0"


def test_lines_are_sorted_as_numbers():
    assert toolchain.lines(["3.9.1", "3.10.2", "3.10.1", "junk"], 2) == ("3.9", "3.10")


@pytest.mark.parametrize("text", ["22; touch x", "../..", "-1", "v22", "22.", "1.2.3.4", "latest", "99999"])
def test_what_is_no_version_is_not_asked_for(text):
    assert not toolchain.is_request(text)


def package(**values):
    return json.dumps({"name": "a", **values})


def planned(runtime, build_cmd, files, pip=""):
    request = {"runtime": runtime.value, **({"build_cmd": build_cmd} if build_cmd else {})}
    return detect.plan_build(merge.decide(files, manifest.Manifest(), request), files, pip)


@pytest.mark.parametrize(
    ("runtime", "files", "commands"),
    [
        (Runtime.NODEJS, {"package.json": "{}", "package-lock.json": "{}"}, ("npm ci",)),
        (Runtime.NODEJS, {"package.json": "{}"}, ("npm install",)),
        (Runtime.NODEJS, {"server.js": ""}, ()),
        (Runtime.PYTHON, {"main.py": ""}, ()),
        (Runtime.PYTHON, {"pyproject.toml": "[tool.x]\n"}, ()),
        (Runtime.PYTHON, {"pyproject.toml": "not toml"}, ()),
        (
            Runtime.PYTHON,
            {"requirements.txt": ""},
            ("python3 -m venv .venv", ".venv/bin/python -m pip install -r requirements.txt"),
        ),
        (
            Runtime.PYTHON,
            {"pyproject.toml": "[project]\nname='a'\n"},
            ("python3 -m venv .venv", ".venv/bin/python -m pip install ."),
        ),
        (Runtime.STATIC, {"package.json": "{}"}, ()),
        (
            Runtime.NODEJS,
            {"package.json": "{}", "yarn.lock": ""},
            ("yarn install --frozen-lockfile --non-interactive",),
        ),
        (
            Runtime.PYTHON,
            {"pyproject.toml": "[project]\nname='a'\n", "uv.lock": ""},
            ("uv sync --frozen --no-dev",),
        ),
        (Runtime.GO, {"go.mod": "", "main.go": "package main\n"}, ("go build -o bin/app .",)),
    ],
)
def test_what_the_files_say_is_done(runtime, files, commands):
    assert planned(runtime, "", files).commands(copied=False) == commands


def test_a_given_command_is_what_runs():
    assert planned(Runtime.NODEJS, "make", {"package.json": "{}"}).commands(copied=False) == ("make",)
    assert planned(Runtime.PYTHON, "make", {}).commands(copied=False) == ("make",)
    assert len(planned(Runtime.PYTHON, "pip install x", {}).commands(copied=False)) == 2


NODE_FILES = {"package.json": package(), "package-lock.json": "{}"}


@pytest.mark.parametrize(
    ("runtime", "build_cmd", "left"),
    [
        (Runtime.NODEJS, "", ()),
        (Runtime.NODEJS, " npm  ci ", ()),
        (Runtime.NODEJS, "npm ci && make", ("npm ci && make",)),
        (Runtime.PYTHON, "", ()),
        (Runtime.PYTHON, "pip install -r requirements.txt", ()),
        (Runtime.PYTHON, "pip install -r requirements.txt extra", ("pip install -r requirements.txt extra",)),
    ],
)
def test_a_copied_directory_spares_the_installation_and_nothing_else(runtime, build_cmd, left):
    plan = planned(runtime, build_cmd, {**NODE_FILES, "requirements.txt": "a==1"})
    assert plan.dependencies is not None
    assert plan.commands(copied=True) == left


@pytest.mark.parametrize(
    "changes",
    [
        {"package.json": package(scripts={"postinstall": "make"})},
        {"package.json": package(workspaces=["x"])},
        {"package-lock.json": '{"packages": {"x": {"link": true}}}'},
    ],
)
def test_an_installation_that_does_more_is_never_spared(changes):
    assert planned(Runtime.NODEJS, "", {**NODE_FILES, **changes}).commands(copied=True) == ("npm ci",)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("flask==3.0\n# note\n\nGunicorn[gevent]>=20,<22 ; python_version > '3.8'\n", True),
        ("a==1 \\\n  --hash=sha256:00 \\\n  --hash=sha256:11\n", True),
        ("flask  # why\n", True),
        ("-r more.txt\n", False),
        ("-e .\n", False),
        ("./local\n", False),
        ("local/thing.whl\n", False),
        ("x @ https://host.test/x.whl\n", False),
        ("git+https://host.test/x\n", False),
        ("--index-url https://host.test\n", False),
    ],
)
def test_only_requirements_that_name_packages_stand_for_what_they_install(text, kept):
    plan = planned(Runtime.PYTHON, "", {"requirements.txt": text})
    assert (plan.dependencies is not None) == kept


@pytest.mark.parametrize(
    ("runtime", "run_cmd", "files", "command"),
    [
        (Runtime.NODEJS, "given", {"Procfile": "web: other"}, "given"),
        (Runtime.NODEJS, "", {"Procfile": "worker: w\n web : node x \n"}, "node x"),
        (Runtime.NODEJS, "", {"package.json": package(scripts={"start": "x"})}, "npm start"),
        (Runtime.NODEJS, "", {"package.json": "[1]", "server.js": ""}, "node server.js"),
        (Runtime.NODEJS, "", {"package.json": "{"}, ""),
        (Runtime.PYTHON, "", {"package.json": package(scripts={"start": "x"})}, ""),
        (Runtime.STATIC, "", {}, ""),
    ],
)
def test_how_an_application_is_started(runtime, run_cmd, files, command):
    request = {"runtime": runtime.value, **({"run_cmd": run_cmd} if run_cmd else {})}
    assert merge.decide(files, manifest.Manifest(), request).run.value == command


def test_what_is_installed_is_built_after_it_also_when_it_was_copied():
    files = {"package.json": package(scripts={"build": "x"}), "package-lock.json": "{}"}
    found = planned(Runtime.NODEJS, "", files)
    assert found.commands(copied=False) == ("npm ci", "npm run build")
    assert found.commands(copied=True) == ("npm run build",)


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("", "22"),
        (">=18", "22"),
        ("<20", "18"),
        ("20.1", "20.1"),
        ("^16.1 || ^18", "18"),
        (">=99", ""),
        ("~18.17.0", "18.17"),
        ("~16.1 || ~18.17", "18.17"),
        ("=20.9.1", "20.9.1"),
        (">=20.3 <20.5", "20.3"),
        ("~17.1", ""),
    ],
)
def test_a_registry_is_asked_for_the_best_line_that_a_range_allows(wanted, line):
    assert toolchain.line_for(wanted, toolchain.NODE_LINES, "22") == line


def test_which_directory_is_served():
    assert detect.static_dir("given", built=False, with_index=()) == "given"
    assert detect.static_dir("", built=False, with_index=(".", "dist")) == "."
    assert detect.static_dir("", built=True, with_index=(".", "dist")) == "dist"
    assert detect.static_dir("", built=True, with_index=()) is None


def test_a_path_with_blanks_in_the_bootstrap_is_quoted():
    plan = planned(Runtime.PYTHON, "", {"requirements.txt": ""}, pip="/a b/pip")
    assert "'/a b/pip'" in plan.setup
