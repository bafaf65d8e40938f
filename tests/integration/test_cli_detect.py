"""`dployr detect` over real directories, as people run it."""

import json

from click.testing import CliRunner

from dployr.cli import dployr

PACKAGE = json.dumps({"name": "a", "scripts": {"start": "node x.js", "build": "tsc"}})


def write(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    return str(directory)


def run(*words):
    return CliRunner().invoke(dployr, ["detect", *words])


def test_each_value_is_printed_with_where_it_comes_from(tmp_path):
    files = {"package.json": PACKAGE, "package-lock.json": "{}", "dployr.yaml": "run_cmd: node y.js\nenv: {A: b}\n"}
    ended = run(write(tmp_path, files))
    assert ended.exit_code == 0, ended.output
    assert "runtime          nodejs  (detected: package.json)" in ended.output
    assert "run              node y.js  (file: dployr.yaml)" in ended.output
    assert "env.A  b  (file: dployr.yaml)" in ended.output


def test_volumes_of_the_manifest_are_printed_too(tmp_path):
    files = {"package.json": PACKAGE, "dployr.yaml": "volumes: [{name: data, mount: var/data}]\n"}
    assert "volumes.data  var/data  (file: dployr.yaml)" in run(write(tmp_path, files)).output


def test_json_holds_the_whole_decision(tmp_path):
    files = {"app/requirements.txt": "flask\n", "app/Procfile": "web: flask run\nworker: python w.py\n"}
    found = json.loads(run(write(tmp_path, files), "--working-dir", "app", "--json").output)
    assert found["values"]["runtime"] == {"value": "python", "source": "detected", "reason": "requirements.txt"}
    assert found["values"]["processes.worker"]["value"] == "python w.py"
    assert (found["open"], found["manifest"]) == ([], None)


def test_what_stays_open_is_told_and_ends_with_one(tmp_path):
    ended = run(write(tmp_path, {"requirements.txt": "requests\n"}))
    assert ended.exit_code == 1
    assert "still open: run" in ended.output
    assert run(write(tmp_path / "empty", {"notes.md": ""}), "--runtime", "static").exit_code == 0
    assert run(write(tmp_path / "queue", {"Procfile": "worker: ./work\n"})).exit_code == 0, "as on a host"


def test_entries_of_a_manifest_are_shown_and_enough_to_run(tmp_path):
    manifest = 'runtime: python\ncron: {tidy: {schedule: "@daily", command: ./tidy}}\n'
    ended = run(write(tmp_path, {"dployr.yaml": manifest}))
    assert ended.exit_code == 0, ended.output
    assert "cron.tidy.schedule  @daily  (file: dployr.yaml)" in ended.output


def test_a_bad_manifest_is_one_sentence_and_no_traceback(tmp_path):
    ended = run(write(tmp_path, {"dployr.yaml": "prot: 80\n"}))
    assert ended.exit_code == 2
    assert "cannot use dployr.yaml: prot: unknown field; did you mean port?" in ended.output
    assert run(str(tmp_path), "--working-dir", "../..").exit_code == 2


def test_text_from_files_cannot_drive_the_terminal(tmp_path):
    ended = run(write(tmp_path, {"Procfile": "web: x \x1b[31m y\n"}))
    assert "\x1b" not in ended.output
