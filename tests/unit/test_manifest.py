"""The manifest in a source: three kinds of file, the flat and the nested form, and every refusal with its next step."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.domain.fields import DeploymentFields
from detection import fields, manifest
from detection.manifest import ManifestError

FLAT = {
    "runtime": "node", "version": "20", "build_cmd": "npm ci", "run_cmd": "npm start", "port": 3000,
    "env": {"NODE_ENV": "production", "WORKERS": 2, "DEBUG": False},
    "health_check": {"path": "/health", "interval": "30s", "timeout": "500ms", "retries": 3},
    "resources": {"memory": "512M", "cpu": 1, "disk": "10G"},
    "processes": {"worker": "node worker.js"},
    "cron": {"tidy": {"schedule": "*/5 * * * *", "command": "node tidy.js", "timeout": "1h"}},
}  # fmt: skip
VALUES = {
    "runtime": "nodejs", "version": "20", "build_cmd": "npm ci", "run_cmd": "npm start", "port": "3000",
    "env.NODE_ENV": "production", "env.WORKERS": "2", "env.DEBUG": "false",
    "health_check.path": "/health", "health_check.interval": "30.0", "health_check.timeout": "0.5",
    "health_check.retries": "3", "resources.memory": str(512 << 20), "resources.cpu": "1.0",
    "resources.disk": str(10 << 30), "processes.worker": "node worker.js",
    "cron.tidy.schedule": "*/5 * * * *", "cron.tidy.command": "node tidy.js", "cron.tidy.timeout": "3600.0",
}  # fmt: skip
YAML = """
runtime: node
version: 20
build_cmd: npm ci
run_cmd: npm start
port: 3000
env: {NODE_ENV: production, WORKERS: 2, DEBUG: false}
health_check: {path: /health, interval: 30s, timeout: 500ms, retries: 3}
resources: {memory: 512M, cpu: 1, disk: 10G}
processes: {worker: node worker.js}
cron:
  tidy:
    schedule: "*/5 * * * *"
    command: node tidy.js
    timeout: 1h
"""
TOML = """
runtime = "node"
version = "20"
build_cmd = "npm ci"
run_cmd = "npm start"
port = 3000
[env]
NODE_ENV = "production"
WORKERS = 2
DEBUG = false
[health_check]
path = "/health"
interval = "30s"
timeout = "500ms"
retries = 3
[resources]
memory = "512M"
cpu = 1
disk = "10G"
[processes]
worker = "node worker.js"
[cron.tidy]
schedule = "*/5 * * * *"
command = "node tidy.js"
timeout = "1h"
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [("dployr.yaml", YAML), ("dployr.yml", YAML), ("dployr.json", json.dumps(FLAT)), ("dployr.toml", TOML)],
)
def test_one_content_in_three_kinds_of_file_is_one_manifest(name, text):
    found = manifest.parse({name: text})
    assert (found.file, dict(found.values)) == (name, VALUES)


def test_the_nested_forms_are_the_flat_fields():
    text = """
name: my-app
description: mine
source: remote
runtime: {type: python, version: "3.10"}
remote: {url: https://git.example.test/a, branch: main, commit_hash: abc1234}
build: {command: make, working_dir: app/}
run: {command: ./serve, port: 8080}
env_vars: {A: b}
static_dir: .
"""
    found = manifest.parse({"dployr.yaml": text})
    assert dict(found.values) == {
        "runtime": "python", "version": "3.10", "build_cmd": "make", "working_dir": "app", "run_cmd": "./serve",
        "port": "8080", "env.A": "b", "static_dir": ".",
    }  # fmt: skip
    assert found.ignored == ("name", "description", "source", "remote.url", "remote.branch", "remote.commit_hash")


def test_yaml_keeps_a_version_as_it_is_written():
    assert manifest.parse({"dployr.yaml": "version: 3.10\n"}).values["version"] == "3.10"


def test_a_process_may_be_written_with_its_replicas():
    said = manifest.parse({"dployr.yaml": "processes:\n  w: {command: node w.js, replicas: 3}\n  c: {replicas: 0}\n"})
    assert said.values == {"processes.w": "node w.js", "process_replicas.w": "3", "process_replicas.c": "0"}
    assert (
        said.values
        == manifest.parse({"dployr.yaml": "processes: {w: node w.js}\nprocess_replicas: {w: 3, c: 0}\n"}).values
    )


def test_without_a_file_there_is_an_empty_manifest():
    assert manifest.parse({"package.json": "{}"}) == manifest.Manifest()


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
REFUSED = [
    ("dployr.yaml", "runtme: node\n", "runtme: unknown field; did you mean runtime?"),
    ("dployr.yaml", "zzz: 1\n", "zzz: unknown field; known are"),
    ("dployr.yaml", "health_check: {pth: /x}\n", "health_check.pth: unknown field; did you mean path?"),
    ("dployr.yaml", "runtime: {typ: node}\n", "runtime.typ: unknown field; did you mean type?"),
    ("dployr.yaml", "runtime: cobol\n", "runtime: must be one of nodejs, python"),
    ("dployr.yaml", "version: newest\n", "version: must be a version such as"),
    ("dployr.json", '{"version": 3.1}', "version: must be text: write it in quotes"),
    ("dployr.yaml", "port: 0\n", "port: must be a whole number from 1 to 65535"),
    ("dployr.yaml", "port: http\n", "port: must be a whole number"),
    ("dployr.json", '{"port": true}', "port: must be a whole number"),
    ("dployr.yaml", "run_cmd: [a]\n", "run_cmd: must be a command"),
    ("dployr.yaml", "run_cmd:\n", "run_cmd: must be a command"),
    ("dployr.yaml", "working_dir: ../x\n", "working_dir: must be a relative path inside the source"),
    ("dployr.yaml", "static_dir: /etc\n", "static_dir: must be a relative path"),
    ("dployr.yaml", "env: {PORT: 1}\n", "env.PORT: the key is reserved"),
    ("dployr.yaml", "env: {1A: x}\n", "env.1A: the key must be letters"),
    ("dployr.yaml", "env: {A: {b: c}}\n", "env.A: must be text"),
    ("dployr.yaml", "env: [A]\n", "env: must be a mapping"),
    ("dployr.yaml", "env:\n", "env: must be a mapping"),
    ("dployr.yaml", "secrets: {A: b}\n", "secrets: does not belong in a source"),
    ("dployr.yaml", "git_token: abc\n", "git_token: does not belong in a source"),
    *(
        (
            "dployr.yaml",
            f"{field}: 2\n",
            f"{field}: is settled before the source is read; delete it, and give it to the dep",
        )
        for field in (
            "replicas",
            "strategy",
            "port_mode",
            "auto_rollback",
            "instance",
            "placement",
            "submodules",
            "image",
            "poll",
        )
    ),
    ("dployr.yaml", "health_check: {kind: command}\n", "health_check.kind: needs a command"),
    ("dployr.yaml", "health_check: {kind: tcp, command: x}\n", "health_check.command: is for the kind command"),
    ("dployr.yaml", "resources: {pids: 1}\n", "resources.pids: must be a whole number from 2"),
    ("dployr.json", '{"env": {"A": "\\ud800"}}', "env.A: the value must be text"),
    ("dployr.json", '{"run_cmd": "a\\u0000b"}', "run_cmd: must be a command"),
    ("dployr.yaml", "processes: {web: x}\n", "processes.web: is run_cmd"),
    ("dployr.yaml", "processes: {web: {replicas: 2}}\n", "processes.web.replicas: is replicas of the deployment"),
    ("dployr.yaml", "processes: {w: {replicas: 101}}\n", "processes.w.replicas: must be a whole number from 0 to 100"),
    ("dployr.yaml", "processes: {w: {replica: 2}}\n", "processes.w.replica: unknown field; did you mean replicas?"),
    ("dployr.yaml", "process_replicas: {release: 2}\n", "process_replicas.release: runs once"),
    ("dployr.yaml", "process_replicas: {Bad Name: 2}\n", "process_replicas.Bad Name: the name must be a letter"),
    (
        "dployr.yaml",
        "process_replicas: {w: 2}\nprocesses: {w: {replicas: 2}}\n",
        "processes.w.replicas: is given twice; keep one of them",
    ),
    ("dployr.yaml", "processes: {Bad Name: x}\n", "processes.Bad Name: the name must be a letter"),
    ("dployr.yaml", "cron: {tidy: daily}\n", "cron.tidy: must be a mapping"),
    ("dployr.yaml", "cron: [tidy]\n", "cron: must be a mapping"),
    ("dployr.yaml", "cron: {T: {}}\n", "cron.T: the name must be a letter"),
    ("dployr.yaml", "cron: {tidy: {}}\n", "cron.tidy.schedule: is required"),
    ("dployr.yaml", 'cron: {tidy: {schedule: "@daily"}}\n', "cron.tidy.command: is required"),
    ("dployr.yaml", 'cron: {tidy: {schedule: "@daily", comand: x}}\n', "comand: unknown field; did you mean command?"),
    ("dployr.yaml", 'cron: {tidy: {schedule: "0 0 30 2 *", command: x}}\n', "cron.tidy.schedule: never comes"),
    (
        "dployr.yaml",
        'cron: {tidy: {schedule: "@daily", command: x, timeout: 2}, overlap: x}\n',
        "cron.overlap: must be a m",
    ),
    (
        "dployr.yaml",
        'cron: {tidy: {schedule: "@daily", command: x, overlap: no}}\n',
        "overlap: must be one of skip, allow",
    ),
    (
        "dployr.json",
        json.dumps({"cron": {f"n{number}": {"schedule": "@daily", "command": "x"} for number in range(21)}}),
        "cron: must be at most 20",
    ),
    ("dployr.yaml", "resources: {memory: lots}\n", "resources.memory: must be a size such as 512M"),
    ("dployr.yaml", "resources: {cpu: -1}\n", "resources.cpu: must be 0.01 to 1024"),
    ("dployr.yaml", "health_check: {interval: 1h}\n", "health_check.interval: must be 0.05 to 300 seconds"),
    ("dployr.yaml", "runtime: {type: node, version: 20}\nversion: 22\n", "version: is given twice"),
    ("dployr.yaml", "env: {A: b}\nenv_vars: {A: c}\n", "env_vars.A: is given twice"),
    ("dployr.yaml", "port: 1\nport: 2\n", "a key is given twice"),
    ("dployr.json", '{"port": 1, "port": 2}', "a key is given twice"),
    ("dployr.json", '{"port": NaN}', "NaN is no value"),
    ("dployr.json", "[1]", "it must be a mapping of fields"),
    ("dployr.yaml", "just text\n", "it must be a mapping of fields"),
    ("dployr.yaml", "", "it must be a mapping of fields"),
    ("dployr.yaml", BOMB, "anchors and aliases are not used here"),
    ("dployr.yaml", "a: !!python/object:os.system {}\n", "a: unknown field"),
    ("dployr.yaml", "[" * 60_000, "it is nested too deep"),
    ("dployr.json", "[" * 60_000, "it is nested too deep"),
    ("dployr.yaml", "a: " + "x" * 70_000, "it is longer than 64 KiB"),
    ("dployr.toml", "a" + ".a" * 9_000 + " = 1\n", "a line is longer"),
    ("dployr.toml", "port = \n", "cannot read dployr.toml"),
    ("dployr.yaml", "a: [\n", "cannot read dployr.yaml"),
    ("dployr.yaml", "env: {" + ", ".join(f"A{n}: x" for n in range(600)) + "}\n", "more than 400 values"),
]


@pytest.mark.parametrize(("name", "text", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_is_wrong_names_file_field_and_next_step(name, text, words):
    with pytest.raises(ManifestError) as told:
        manifest.parse({name: text})
    assert name in str(told.value)
    assert words in str(told.value)
    assert len(str(told.value)) < 2200


def test_every_field_of_a_deployment_is_known_to_its_manifest():
    """Each is used, refused for what it is, or says what is known already; none is a misspelling."""
    assert {field.name for field in dataclasses.fields(DeploymentFields)} - {"given"} <= fields.KNOWN


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ManifestError, match=r"port.*; version"):
        manifest.parse({"dployr.yaml": "port: x\nversion: y\n"})


def test_two_manifests_are_refused():
    with pytest.raises(ManifestError, match=r"dployr.yaml and dployr.toml: .*delete all but one"):
        manifest.parse({"dployr.yaml": "port: 1", "dployr.toml": "port = 1"})


@given(st.sampled_from(manifest.NAMES), st.text(max_size=200))
def test_any_text_is_a_manifest_or_refused(name, text):
    try:
        found = manifest.parse({name: text})
    except ManifestError as error:
        assert name in str(error)
    else:
        assert all(isinstance(value, str) for value in found.values.values())
