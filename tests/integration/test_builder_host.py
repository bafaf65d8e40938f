"""The host's builder with real git, real toolchains and real commands."""

import asyncio
import json
import os
import pathlib
import shutil
import subprocess
import zipfile

import pytest

from node_agent.builder import trees
from node_agent.builder.build import Limits
from node_agent.errors import ReleaseFailedError
from node_agent.model import decided
from node_agent.model.spec import Runtime
from tests.builder_fixtures import SERVICE, Bench
from tests.waiting import wait_until_async


@pytest.fixture
async def bench(tmp_path):
    found = Bench(tmp_path)
    yield found
    await trees.delete(found.paths.root)  # toolchains are large and read-only


async def failure(bench, release) -> ReleaseFailedError:
    with pytest.raises(ReleaseFailedError) as caught:
        await bench.build(release)
    assert await bench.left_over() == []
    assert await bench.builder.sealed(SERVICE, release.number) is None
    assert f"==> failed: {caught.value}"[:100] in bench.log(release.number)
    return caught.value


async def test_a_static_site_is_sealed_as_it_was_committed(bench):
    commit = bench.repository.write({"index.html": "hello", "img/a.txt": "a", "to": pathlib.Path("img/a.txt")})
    artifact = await bench.build(bench.release())
    assert (artifact.commit, artifact.static_root, artifact.toolchain) == (commit, ".", "")
    assert (bench.tree() / "index.html").read_text() == "hello"
    assert (bench.tree() / "to").read_text() == "a"
    assert bench.steps == [("fetching", ""), ("fetching", commit), ("building", commit)]
    assert await bench.builder.sealed(SERVICE, 1) == artifact
    assert await bench.left_over() == []
    assert f"==> source {bench.repository.remote} branch main at {commit[:12]}" in bench.log()


async def test_a_journalled_commit_is_built_although_the_branch_moved_on(bench):
    first = bench.repository.write({"index.html": "one"})
    bench.repository.write({"index.html": "two"})
    await bench.build(bench.release(commit=first))
    assert (bench.tree() / "index.html").read_text() == "one"
    assert bench.steps == [("fetching", first), ("building", first)]


async def test_the_build_command_runs_in_the_working_directory_with_the_environment(bench):
    bench.repository.write({"site/in": "x"})
    build_cmd = 'mkdir dist && echo "$WORD" > dist/index.html && echo from the build'
    release = bench.release(build_cmd=build_cmd, working_dir="site", env=(("WORD", "said"),))
    artifact = await bench.build(release)
    assert artifact.static_root == "site/dist"
    assert (bench.tree() / "site/dist/index.html").read_text() == "said\n"
    assert "from the build" in bench.log()


async def test_a_failed_build_says_how_and_leaves_nothing(bench):
    bench.repository.write({"index.html": "x"})
    error = await failure(bench, bench.release(build_cmd="echo the reason; exit 3"))
    assert error.code == "build_failed"
    assert "exited with code 3" in str(error) and "the reason" in str(error)


@pytest.mark.skipif(shutil.which("php") is None or shutil.which("composer"), reason="wants php without composer")
async def test_a_package_manager_that_the_host_lacks_is_named_with_what_is_wrong(bench):
    bench.repository.write({"composer.json": '{"require": {"a/b": "1"}}', "composer.lock": "{}", "index.php": ""})
    error = await failure(bench, bench.release(runtime=Runtime.PHP))
    assert error.code == "build_failed"
    assert "`composer install" in str(error)
    assert "it needs a program that is not there" in str(error)
    assert "composer: not found" in str(error)


async def test_a_build_that_does_not_end_is_ended(tmp_path):
    bench = Bench(tmp_path, Limits(build_s=1.0))
    bench.repository.write({"index.html": "x"})
    error = await failure(bench, bench.release(build_cmd="sleep 600"))
    assert error.code == "build_timeout"


async def test_a_cancelled_build_ends_its_job_and_leaves_nothing(bench):
    bench.repository.write({"index.html": "x"})
    task = asyncio.create_task(bench.build(bench.release(build_cmd="touch begun; sleep 600")))
    await wait_until_async((bench.paths.build_tree(SERVICE, 1) / "begun").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await bench.left_over() == []
    assert "==> cancelled" in bench.log()


async def test_builds_wait_for_their_turn(tmp_path):
    bench = Bench(tmp_path, Limits(builds=1))
    bench.repository.write({"index.html": "x"})
    command = "mkdir ../../lock && sleep 0.1 && rmdir ../../lock"
    releases = [bench.release(number, build_cmd=command, env=(("N", str(number)),)) for number in (1, 2, 3)]
    assert len(await asyncio.gather(*map(bench.build, releases))) == 3


@pytest.mark.parametrize("target", ["/etc", "/etc/passwd", "../../../outside", "../../b", "/nonexistent"])
async def test_a_link_out_of_the_tree_is_refused(bench, target):
    bench.repository.write({"index.html": "x", "deep/link": pathlib.Path(target), "a/b": "x"})
    error = await failure(bench, bench.release())
    assert error.code == "link_out_of_tree" and "deep/link" in str(error)


async def test_a_link_that_only_the_kernel_sees_leaving_is_refused(bench):
    files = {"index.html": "x", "a/b/c/up": pathlib.Path("../../.."), "a/b/c/y": pathlib.Path("up/../outside")}
    bench.repository.write(files)
    assert (await failure(bench, bench.release())).code == "link_out_of_tree"


async def test_a_pipe_in_the_tree_is_refused(bench):
    bench.repository.write({"index.html": "x"})
    assert (await failure(bench, bench.release(build_cmd="mkfifo pipe"))).code == "special_file"


@pytest.mark.parametrize("working_dir", ["../..", "/etc", "missing", "index.html", "out", "a/../.."])
async def test_a_working_dir_outside_of_the_tree_is_refused(bench, working_dir):
    bench.repository.write({"index.html": "x", "out": pathlib.Path("/tmp")})
    assert (await failure(bench, bench.release(working_dir=working_dir))).code == "bad_working_dir"


@pytest.mark.parametrize("static_dir", ["../..", "/etc", "missing", "index.html"])
async def test_a_static_dir_outside_of_the_tree_is_refused(bench, static_dir):
    bench.repository.write({"index.html": "x"})
    assert (await failure(bench, bench.release(static_dir=static_dir))).code == "bad_static_dir"


async def test_a_site_without_an_index_says_what_to_set(bench):
    bench.repository.write({"readme": "x"})
    assert "set static_dir" in str(await failure(bench, bench.release()))


async def test_an_application_that_nobody_can_start_fails_before_its_build(bench):
    bench.repository.write({"main.py": "x"})
    error = await failure(bench, bench.release(runtime=Runtime.PYTHON, build_cmd="exit 9"))
    assert error.code == "no_run_cmd"
    assert bench.jobs.ran == []


async def test_a_full_disk_is_explained(bench):
    bench.repository.write({"index.html": "x"})
    bench.paths.root.joinpath("services").write_text("in the way")
    with pytest.raises(ReleaseFailedError) as caught:
        await bench.build(bench.release())
    assert caught.value.code == "host_error"


# reuse


async def test_the_same_build_is_used_again_without_its_traces(bench):
    bench.repository.write({"in": "x"})
    build_cmd = "mkdir dist; date +%s%N > dist/index.html; ln -s $PWD/dist abs"
    first = await bench.build(bench.release(1, build_cmd=build_cmd))
    (bench.tree(1) / "dist/dropped-by-the-app").write_text("x")
    second = await bench.build(bench.release(2, build_cmd=build_cmd, port=9000))
    assert second.digest == first.digest
    assert len(bench.jobs.ran) == 1
    page = bench.tree(2) / "dist/index.html"
    assert page.read_text() == (bench.tree(1) / "dist/index.html").read_text()
    assert not os.path.samefile(page, bench.tree(1) / "dist/index.html")
    assert not (bench.tree(2) / "dist/dropped-by-the-app").exists()
    assert os.path.realpath(bench.tree(2) / "abs") == os.path.realpath(bench.tree(2) / "dist")
    assert "unchanged since release 1" in bench.log(2)


async def test_a_release_that_was_changed_after_its_seal_is_not_used_again(bench):
    bench.repository.write({"in": "x"})
    build_cmd = "mkdir dist; echo good > dist/index.html"
    await bench.build(bench.release(1, build_cmd=build_cmd))
    (bench.tree(1) / "dist/index.html").write_text("defaced")
    await bench.build(bench.release(2, build_cmd=build_cmd))
    assert (bench.tree(2) / "dist/index.html").read_text() == "good\n"
    assert len(bench.jobs.ran) == 2


@pytest.mark.parametrize("change", [{"env": (("A", "2"),)}, {"build_cmd": "mkdir dist; echo 2 > dist/index.html"}])
async def test_a_changed_input_is_built_anew(bench, change):
    bench.repository.write({"in": "x"})
    base = {"build_cmd": "mkdir dist; echo 1 > dist/index.html", "env": (("A", "1"),)}
    first = await bench.build(bench.release(1, **base))
    second = await bench.build(bench.release(2, **{**base, **change}))
    assert first.digest != second.digest and len(bench.jobs.ran) == 2


async def test_a_build_of_a_sealed_release_answers_at_once(bench):
    bench.repository.write({"index.html": "x"})
    first = await bench.build(bench.release())
    bench.steps.clear()
    assert await bench.build(bench.release()) == first
    assert bench.steps == []


# life on disk


async def test_a_damaged_release_is_none(bench):
    bench.repository.write({"index.html": "x"})
    await bench.build(bench.release())
    manifest = bench.paths.release(SERVICE, 1) / "manifest.json"
    values = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**values, "inventory": "0" * 64}))
    assert await bench.builder.sealed(SERVICE, 1) is None
    manifest.write_text("{")
    assert await bench.builder.sealed(SERVICE, 1) is None
    assert (await bench.build(bench.release())).release == 1
    assert await bench.left_over() == []


async def test_prune_keeps_what_it_is_told_and_deletes_what_resists(bench):
    bench.repository.write({"index.html": "x"})
    for number in (1, 2, 3):
        await bench.build(bench.release(number))
    (bench.paths.builds(SERVICE) / "9").mkdir(parents=True)
    (bench.paths.releases(SERVICE) / ".8.new" / "tree").mkdir(parents=True)
    os.chmod(bench.tree(1), 0o500)
    await bench.builder.prune(SERVICE, frozenset({3}))
    assert [place.name for place in bench.paths.releases(SERVICE).iterdir()] == ["3"]
    assert await bench.left_over() == []


async def test_remove_leaves_the_logs_alone(bench):
    bench.repository.write({"index.html": "x"})
    await bench.build(bench.release())
    await bench.builder.remove(SERVICE)
    await bench.builder.remove(SERVICE)
    assert [place.name for place in bench.paths.service(SERVICE).iterdir()] == ["logs"]
    assert await bench.left_over() == []


async def test_a_pruned_release_is_gone_at_once_and_deleted_in_the_background(bench):
    bench.repository.write({"index.html": "x"})
    await bench.build(bench.release())
    await bench.builder.prune(SERVICE, frozenset())
    assert list(bench.paths.releases(SERVICE).iterdir()) == []
    assert list(bench.paths.trash.iterdir()) != []
    deleting = asyncio.create_task(bench.builder.trash.run())
    await wait_until_async(lambda: not list(bench.paths.trash.iterdir()), what="the empty trash")
    deleting.cancel()
    await asyncio.gather(deleting, return_exceptions=True)


# python


@pytest.fixture
def wheels(tmp_path):
    """A directory with one small package that has a console script; nothing is fetched from anywhere."""
    place = tmp_path / "wheels"
    place.mkdir()
    info = "greet-1.0.dist-info"
    with zipfile.ZipFile(place / "greet-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("greet.py", "def main():\n    print('hello from', __file__)\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greet\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\ngreet = greet:main\n")
        wheel.writestr(
            f"{info}/RECORD",
            f"greet.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/entry_points.txt,,\n{info}/RECORD,,\n",
        )
    return place


def greeting(tree):
    script = tree / ".venv/bin/greet"
    return subprocess.run([script], check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}).stdout


async def test_a_python_application_runs_its_scripts_where_it_was_sealed(bench, wheels):
    bench.repository.write({"requirements.txt": "greet==1.0\n", "Procfile": "web: greet\n"})
    env = (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(wheels)))
    artifact = await bench.build(bench.release(1, runtime=Runtime.PYTHON, env=env))
    assert artifact.run_cmd == "greet"
    assert artifact.toolchain.startswith("python-3.")
    assert str(bench.tree(1).resolve()) in greeting(bench.tree(1))
    assert len(bench.jobs.ran) == 2

    bench.repository.write({"main.py": "changed"})
    await bench.build(bench.release(2, runtime=Runtime.PYTHON, env=env))
    assert len(bench.jobs.ran) == 2, "an unchanged requirements.txt installs nothing"
    await bench.build(bench.release(3, runtime=Runtime.PYTHON, env=env, run_cmd="greet 3"))
    await bench.builder.prune(SERVICE, frozenset({2, 3}))
    for number in (2, 3):
        assert str(bench.tree(number).resolve()) in greeting(bench.tree(number))


async def test_a_python_build_command_finds_its_virtual_environment(bench, wheels):
    bench.repository.write({"app/requirements.txt": "greet\n", "app/main.py": "import greet\n"})
    env = (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(wheels)))
    release = bench.release(
        runtime=Runtime.PYTHON, env=env, working_dir="app", build_cmd="pip install -r requirements.txt", run_cmd="greet"
    )
    await bench.build(release)
    assert "hello from" in greeting(bench.tree() / "app")


async def test_an_interpreter_without_ensurepip_gets_its_pip_from_the_toolchain(bench, wheels):
    """What a Debian machine without python3-venv needs."""
    name = await bench.toolchains.provide(Runtime.PYTHON, "")
    place = bench.paths.toolchain(name)
    place.chmod(0o700)
    subprocess.run(
        [place / "bin/python3", "-m", "ensurepip", "--version"],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin"},
    )
    bundled = subprocess.run(
        [place / "bin/python3", "-c", "import ensurepip, os; print(os.path.dirname(ensurepip.__file__))"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    wheel = next(pathlib.Path(bundled, "_bundled").glob("pip-*.whl"))
    zipfile.ZipFile(wheel).extractall(place / "pip")
    (wheels / wheel.name).write_bytes(wheel.read_bytes())
    bench.repository.write({"requirements.txt": "greet\n"})
    env = (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(wheels)))
    await bench.build(bench.release(runtime=Runtime.PYTHON, env=env, run_cmd="greet"))
    assert "--without-pip" in bench.jobs.ran[0]
    assert "hello from" in greeting(bench.tree())


async def test_an_interpreter_that_is_not_there_fails_with_those_that_are(bench):
    bench.repository.write({"main.py": ""})
    error = await failure(bench, bench.release(runtime=Runtime.PYTHON, version="3.99", run_cmd="x"))
    assert error.code == "toolchain_unavailable"
    assert "versions that can be had: 3." in str(error)


# node


async def test_node_22_is_provisioned_and_builds_a_package(bench):
    package = {"name": "a", "version": "1.0.0", "scripts": {"start": "node server.js", "postinstall": "node made.js"}}
    lock = {"name": "a", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {"": package}}
    files = {
        "package.json": json.dumps(package),
        "package-lock.json": json.dumps(lock),
        "made.js": "require('fs').writeFileSync('made', process.version)",
        "server.js": "",
    }
    bench.repository.write(files)
    artifact = await bench.build(bench.release(runtime=Runtime.NODEJS, version="22"))
    assert artifact.toolchain.startswith("node-22.")
    assert artifact.run_cmd == "npm start"
    assert (bench.tree() / "made").read_text() == "v" + artifact.toolchain.removeprefix("node-")
    assert bench.jobs.ran == ["npm ci"]
    assert not list(bench.paths.toolchains.glob(".new*"))
    assert await bench.toolchains.provide(Runtime.NODEJS, "22") == artifact.toolchain


async def test_a_static_site_is_built_with_node_when_it_has_a_package(bench):
    script = "mkdir -p dist && node -e 'console.log(process.version)' > dist/index.html"
    bench.repository.write({"package.json": json.dumps({"name": "a", "scripts": {"build": script}}), "index.html": "x"})
    artifact = await bench.build(bench.release(build_cmd="npm run build"))
    assert artifact.static_root == "dist"
    assert (bench.tree() / "dist/index.html").read_text() == "v" + artifact.toolchain.removeprefix("node-") + "\n"


async def test_concurrent_requests_for_one_toolchain_make_it_once(tmp_path):
    bench = Bench(tmp_path)
    (bench.paths.toolchains / ".new-python-left").mkdir(parents=True)
    names = await asyncio.gather(*(bench.toolchains.provide(Runtime.PYTHON, "") for _ in range(4)))
    assert len(set(names)) == 1
    assert [p.name for p in bench.paths.toolchains.iterdir() if p.is_dir()] == [names[0]]


async def test_node_modules_are_copied_while_the_lock_is_the_same(bench):
    """The package is a stand-in for npm: the copying is ours, npm's own work is tested above."""
    package = json.dumps({"name": "a", "version": "1.0.0"})
    bench.repository.write({"package.json": package, "package-lock.json": "{}", "index.html": "1"})
    command = "ls node_modules 2>/dev/null; mkdir -p node_modules/x node_modules/.cache && echo x > node_modules/x/i.js"
    await bench.build(bench.release(1, build_cmd=command))
    bench.repository.write({"index.html": "2"})
    await bench.build(bench.release(2, build_cmd=command))
    assert "node_modules taken from release 1" in bench.log(2)
    assert "\nx\n" in bench.log(2)
    bench.repository.write({"package-lock.json": '{"lockfileVersion": 3}'})
    await bench.build(bench.release(3, build_cmd=command))
    assert "copied from" not in bench.log(3)


# what the source says of itself


def node_stand_in(bench, version: str) -> None:
    """A provisioned Node that only says which one it is."""
    place = bench.paths.toolchain(f"node-{version}") / "bin"
    place.mkdir(parents=True)
    (place / "node").write_text(f"#!/bin/sh\necho v{version}\n")
    (place / "node").chmod(0o755)


async def test_a_source_that_says_what_it_is_needs_no_request(bench):
    node_stand_in(bench, "20.1.0")
    node_stand_in(bench, "22.1.0")
    files = {"dployr.yaml": "working_dir: app\nenv: {WORD: said}\nbuild_cmd: node > made; echo $WORD >> made\n"}
    bench.repository.write({**files, "app/.nvmrc": "20\n", "app/server.js": ""})
    artifact = await bench.build(bench.release(runtime=Runtime.DETECT))
    assert artifact.toolchain == "node-20.1.0"
    assert artifact.run_cmd == "node server.js"
    assert (bench.tree() / "app/made").read_text() == "v20.1.0\nsaid\n"
    rows = {row.field: (row.value, row.origin) for row in artifact.decided}
    assert rows["working_dir"] == ("app", "file")
    assert rows["runtime"] == ("nodejs", "detected")
    assert rows["env.WORD"] == ("said", "file")
    assert "==> version: 20  (.nvmrc says 20)" in bench.log()
    assert (await bench.builder.sealed(SERVICE, 1)) == artifact


async def test_a_site_is_sealed_for_the_proxy_whoever_says_that_it_is_one(bench):
    bench.repository.write({"index.html": "x"})
    await bench.build(bench.release(1, runtime=Runtime.DETECT))
    await bench.build(bench.release(2, runtime=Runtime.DETECT, port=9000))
    bench.repository.write({"Procfile": "web: true\n", "dployr.yaml": "runtime: custom\n"})
    await bench.build(bench.release(3, runtime=Runtime.DETECT))
    assert bench.jobs.sealed == [True, True, False]


async def test_the_first_lines_of_the_log_say_what_was_decided_and_what_was_not_used(bench):
    bench.repository.write({"index.html": "x", "dployr.yaml": "name: mine\nruntime: static\n"})
    await bench.build(bench.release(runtime=Runtime.DETECT))
    assert "==> runtime: static  (dployr.yaml)" in bench.log()
    assert "==> note: not used of dployr.yaml, because the request says it: name" in bench.log()


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({"dployr.yaml": "prot: 1\n"}, "bad_manifest", "prot: unknown field; did you mean port?"),
        ({"dployr.yaml": "port: 1\n", "dployr.toml": "port = 1\n"}, "bad_manifest", "delete all but one"),
        ({"dployr.yaml": "working_dir: nowhere\n"}, "bad_working_dir", "'nowhere'"),
        ({"readme": "x"}, "unknown_runtime", "set runtime"),
        ({"requirements.txt": ""}, "no_run_cmd", "nothing says how it is started"),
    ],
)
async def test_a_source_that_says_too_little_or_nonsense_fails_with_the_next_step(bench, files, code, words):
    bench.repository.write(files)
    error = await failure(bench, bench.release(runtime=Runtime.DETECT))
    assert (error.code, words in str(error)) == (code, True), str(error)


async def test_an_unchanged_source_is_started_otherwise_without_a_build(bench):
    node_stand_in(bench, "22.1.0")
    bench.repository.write({"server.js": "", "dployr.yaml": "run_cmd: node of-file.js\nbuild_cmd: echo built\n"})
    first = await bench.build(bench.release(1, runtime=Runtime.DETECT))
    asked = bench.release(2, runtime=Runtime.DETECT, run_cmd="node asked.js", given=("run_cmd",))
    second = await bench.build(asked)
    assert (first.run_cmd, second.run_cmd) == ("node of-file.js", "node asked.js")
    assert "run_cmd" not in {row.field for row in decided.still(second.decided, asked)}
    assert bench.jobs.ran == ["echo built"]


async def test_what_a_request_no_longer_says_is_the_sources_word_again(bench):
    node_stand_in(bench, "22.1.0")
    bench.repository.write({"server.js": "", "Procfile": "clock: c\n", "dployr.yaml": "env: {A: file}\nport: 80\n"})
    given = {
        "run_cmd": "node asked.js",
        "port": 9,
        "env": (("A", "x"),),
        "secret_keys": ("A",),
        "processes": (("clock", "x"),),
    }
    await bench.build(bench.release(1, runtime=Runtime.DETECT, given=("run_cmd", "port"), **given))
    plain = bench.release(2, runtime=Runtime.DETECT, given=("remote",))
    second = await bench.build(plain)
    assert "unchanged since release 1" in bench.log(2)
    found = decided.effective(plain, second.decided)
    assert (second.run_cmd, found.run_cmd, found.port) == ("node server.js", "node server.js", 80)
    assert (found.env, found.processes) == ((("A", "file"),), (("clock", "c"),))


async def test_a_start_command_that_is_taken_back_and_said_nowhere_else_is_missed(bench):
    node_stand_in(bench, "22.1.0")
    bench.repository.write({"other.js": ""})
    await bench.build(bench.release(1, runtime=Runtime.NODEJS, run_cmd="node other.js"))
    error = await failure(bench, bench.release(2, runtime=Runtime.NODEJS))
    assert error.code == "no_run_cmd"


async def test_a_newer_toolchain_of_the_line_means_another_build(bench):
    node_stand_in(bench, "22.1.0")
    bench.repository.write({"server.js": "", "dployr.yaml": "build_cmd: node\n"})
    await bench.build(bench.release(1, runtime=Runtime.NODEJS, version="22"))
    node_stand_in(bench, "22.2.0")
    assert (await bench.build(bench.release(2, runtime=Runtime.NODEJS, version="22"))).toolchain == "node-22.2.0"
    assert bench.jobs.ran == ["node", "node"]


async def test_a_file_of_the_source_that_leads_elsewhere_decides_nothing(bench, tmp_path):
    (tmp_path / "outside.yaml").write_text("runtime: static\n")
    bench.repository.write({"readme": "x", "dployr.yaml": pathlib.Path("../../../../../../outside.yaml")})
    assert (await failure(bench, bench.release(runtime=Runtime.DETECT))).code == "unknown_runtime"
