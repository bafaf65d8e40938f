"""T12 and T18: what a hostile remote, server or repository may try, with real git and a real https host beside us."""

import asyncio
import ipaddress
import json
import os
import pathlib
import resource
import shutil
import stat
import subprocess
import sys

import pytest

from node_agent import dumps
from node_agent.builder import git_command, git_sandbox
from node_agent.builder.egress import Egress
from node_agent.builder.git import Git, Policy
from node_agent.builder.git_command import GitCommand
from node_agent.errors import ReleaseFailedError
from node_agent.model.source import Access
from node_agent.paths import Paths
from tests.builder_fixtures import Repository
from tests.builder_fixtures import git as run_git
from tests.git_server import BACKEND, GitServer
from tests.waiting import wait_until_async

pytestmark = pytest.mark.skipif(not os.path.exists(BACKEND), reason="git has no http backend here")
TOKEN = "ghp_canary_4f1d9a7c"


async def everywhere(*_):
    return ("127.0.0.1",)


def allowed(*networks):
    return Egress(tuple(ipaddress.ip_network(one) for one in networks))


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "root").mkdir()
    return Paths(tmp_path / "root")


@pytest.fixture
def host(tmp_path):
    (tmp_path / "host").mkdir()
    server = GitServer(tmp_path / "host", tmp_path / "ca.pem")
    yield server
    server.close()


@pytest.fixture
def repository(host):
    return Repository(host.root / "app")


def a_git(paths, host, policy=None, command=None, reach=None):
    command = command or GitCommand(paths.cache / "git", ca_file=str(host.ca_file))
    return Git(paths, policy or Policy(), reach or allowed("127.0.0.0/8", "::1"), command)


@pytest.fixture
def git(paths, host):
    return a_git(paths, host)


async def refused(coroutine) -> ReleaseFailedError:
    with pytest.raises(ReleaseFailedError, match=r"^cannot ") as caught:
        await coroutine
    assert TOKEN not in str(caught.value)
    return caught.value


async def written(git, remote, commit, tree, **more):
    tree.mkdir()
    return await git.checkout(await git.fetch(remote, commit, "main", **more), commit, tree)


async def test_a_source_comes_over_https(git, host, repository, tmp_path):
    commit = repository.commit(a="1")
    remote = host.remote("app")
    assert await git.resolve(remote, "main") == commit
    await written(git, remote, commit, tmp_path / "tree")
    assert (tmp_path / "tree" / "a").read_text() == "1"


async def test_a_token_opens_its_repository_and_is_written_nowhere(git, host, repository, paths, tmp_path):
    commit = repository.commit(a="1")
    host.manners.pair = f"x-access-token:{TOKEN}"
    remote = host.remote("app")
    assert (await refused(git.resolve(remote, "main"))).code == "repository_not_found"
    assert await git.resolve(remote, "main", Access(TOKEN)) == commit
    await written(git, remote, commit, tmp_path / "tree", access=Access(TOKEN))
    on_disk = b"".join(file.read_bytes() for file in paths.root.rglob("*") if file.is_file())
    assert TOKEN.encode() not in on_disk
    mirror = next(paths.cache.glob("git/*/config"))
    assert host.remote("app") not in mirror.read_text()


async def test_a_redirect_is_not_followed_and_shows_the_token_to_nobody(git, host, repository, tmp_path):
    (tmp_path / "other").mkdir()
    other = GitServer(tmp_path / "other", host.ca_file.with_name("other.pem"), host.authority)
    try:
        Repository(other.root / "app").commit(a="1")
        repository.commit(a="1")
        host.manners.redirect_to = f"https://localhost:{other.server_port}"
        await refused(git.resolve(host.remote("app"), "main", Access(TOKEN)))
        await refused(git.fetch(host.remote("app"), "1" * 40, "main", Access(TOKEN)))
        assert other.asked == []
    finally:
        other.close()


async def test_a_server_that_nobody_vouches_for_is_not_read(paths, host, repository):
    repository.commit(a="1")
    stranger = a_git(paths, host, command=GitCommand(paths.cache / "git"))
    assert (await refused(stranger.resolve(host.remote("app"), "main", Access(TOKEN)))).code == "fetch_failed"
    assert not any(shown for *_, shown in host.asked)


@pytest.mark.parametrize(
    "address",
    ["https://127.0.0.1", "https://localhost", "https://127.1", "https://2130706433", "https://0x7f.1", "https://0"],
)
async def test_a_host_that_leads_inside_is_not_called(paths, host, repository, address):
    repository.commit(a="1")
    strict = a_git(paths, host, reach=Egress())
    error = await refused(strict.resolve(f"{address}:{host.server_port}/app", "main"))
    assert (error.code, "not public" in str(error)) == ("remote_refused", True)
    assert host.asked == []


async def test_a_name_that_leads_elsewhere_at_the_second_look_is_dialled_where_it_was_checked(paths, host, repository):
    commit = repository.commit(a="1")
    asked = []

    async def resolve(name, _):
        asked.append(name)
        return ("127.0.0.1",)

    reach = Egress(tuple(ipaddress.ip_network(one) for one in ("127.0.0.0/8",)), resolve)
    # The host's own name service knows no such name: git reaches it by the address that it is given alone.
    found = a_git(paths, host, reach=reach, command=GitCommand(paths.cache / "git", ca_file=str(host.ca_file)))
    ended = await refused(found.resolve(f"https://git.rebinding.test:{host.server_port}/app", "main"))
    assert asked == ["git.rebinding.test"]
    assert "certificate" in str(ended) or "SSL" in str(ended)  # it was reached, and is not who it says
    assert await found.resolve(host.remote("app"), "main") == commit


@pytest.mark.parametrize(
    "protocol", ["ext::touch X", "file:///etc", "ssh://git@localhost/x", "fd::17", "git://localhost/x"]
)
async def test_what_the_grammar_stops_git_would_stop_too(paths, host, protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = GitCommand(paths.cache / "git", ca_file=str(host.ca_file))
    ended = await command.run(("ls-remote", "--end-of-options", protocol), {}, protocol="https")
    assert "not allowed" in ended.stderr
    assert not list(tmp_path.rglob("X"))


async def test_local_commands_have_no_transport_at_all(paths, host, repository):
    ended = await GitCommand(paths.cache / "git", ca_file=str(host.ca_file)).run(("ls-remote", host.remote("app")), {})
    assert "not allowed" in ended.stderr


# what a repository may hold


TRAPS = {
    ".gitattributes": "* filter=canary diff=canary merge=canary\n*.bin filter=lfs\n",
    ".gitconfig": '[core]\n\thooksPath = .\n\tfsmonitor = "touch CANARY"\n[filter "canary"]\n\tsmudge = touch CANARY\n',
    "post-checkout": "#!/bin/sh\ntouch CANARY\n",
    "hooks/post-checkout": "#!/bin/sh\ntouch CANARY\n",
    "config": "[core]\n\tsshCommand = touch CANARY\n",
    ".gitignore": "",
    "a.bin": "x",
}


async def test_hooks_filters_and_settings_in_a_repository_are_files_and_nothing_else(git, host, repository, tmp_path):
    commit = repository.write(TRAPS)
    for name in ("post-checkout", "post-update", "post-upload-pack", "pre-auto-gc", "reference-transaction"):
        hook = repository.place / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/CANARY\n")
        hook.chmod(0o755)
    await written(git, host.remote("app"), commit, tmp_path / "tree")
    assert {
        str(path.relative_to(tmp_path / "tree")) for path in (tmp_path / "tree").rglob("*") if path.is_file()
    } == set(TRAPS)
    assert not list(tmp_path.rglob("CANARY"))


def a_raw_tree(place: pathlib.Path, *entries: tuple[str, str, str]) -> str:
    """A commit of a tree that git would not make by itself: (mode, name, object)."""
    raw = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(found) for mode, name, found in entries)
    (place / "raw").write_bytes(raw)
    tree = run_git(place, "hash-object", "-t", "tree", "-w", "--literally", "raw")
    (place / "raw").unlink()
    commit = run_git(place, "commit-tree", tree, "-m", "x")
    run_git(place, "update-ref", "refs/heads/main", commit)
    return commit


@pytest.mark.parametrize("name", [".git", "..", ".GIT", "git~1", "a/b", ".git\u200c"])
async def test_a_tree_that_writes_over_git_or_upwards_is_refused(git, host, repository, tmp_path, name):
    repository.commit(a="1")
    blob = run_git(repository.place, "rev-parse", "HEAD:a")
    commit = a_raw_tree(repository.place, ("100644", name, blob))
    assert (await refused(written(git, host.remote("app"), commit, tmp_path / "tree"))).code in {
        "bad_repository",
        "checkout_failed",
        "fetch_failed",
    }
    assert list((tmp_path / "tree").iterdir() if (tmp_path / "tree").exists() else []) == []
    assert not (tmp_path / "b").exists()


async def test_a_link_and_a_directory_of_one_name_do_not_lead_out(git, host, repository, tmp_path):
    repository.write({"d/hit": "x"})
    inner = run_git(repository.place, "rev-parse", "HEAD:d")
    (repository.place / "raw").write_text(str(tmp_path))
    link = run_git(repository.place, "hash-object", "-w", "raw")
    commit = a_raw_tree(repository.place, ("120000", "a", link), ("40000", "a", inner))
    await refused(written(git, host.remote("app"), commit, tmp_path / "tree"))
    assert not (tmp_path / "hit").exists()


# what was resolved is what is built


async def test_a_push_between_the_look_and_the_fetch_changes_nothing(git, host, repository, tmp_path):
    first = repository.commit(a="1")
    assert await git.resolve(host.remote("app"), "main") == first
    forced = force_push(repository)
    await written(git, host.remote("app"), first, tmp_path / "tree")
    assert (tmp_path / "tree" / "a").read_text() == "1"
    assert forced != first


async def test_a_commit_that_a_push_took_away_fails_the_release(git, host, repository):
    first = repository.commit(a="1")
    force_push(repository)
    run_git(repository.place, "reflog", "expire", "--expire=now", "--all")
    run_git(repository.place, "gc", "--quiet", "--prune=now")
    error = await refused(git.fetch(host.remote("app"), first, "main"))
    assert (error.code, first in str(error)) == ("commit_not_found", True)


async def test_a_push_while_the_pack_is_asked_for_brings_the_recorded_commit_or_none(git, host, repository):
    first = repository.commit(a="1")
    host.manners.before_pack = lambda: force_push(repository)
    mirror = await git.fetch(host.remote("app"), first, "main")
    assert run_git(mirror, "rev-parse", f"refs/dployr/{first}") == first


async def test_an_old_server_is_asked_for_the_branch_and_that_is_said(git, host, repository):
    host.manners.old = True
    first = repository.commit(a="1")
    repository.commit(a="2")
    said = []
    mirror = await git.fetch(host.remote("app"), first, "main", say=said.append)
    assert run_git(mirror, "show", f"{first}:a") == "1"
    assert "by its id: looking for it in refs/heads/main" in said[0]


async def test_an_old_server_after_a_forced_push_fails_the_release(git, host, repository):
    host.manners.old = True
    first = repository.commit(a="1")
    force_push(repository)
    assert (await refused(git.fetch(host.remote("app"), first, "main"))).code == "commit_not_found"


async def test_a_server_that_turns_into_files_is_not_read_file_by_file(git, host, repository, paths):
    """Each file is within the limit of one; of how many of them there are no limit knows."""
    host.manners.old, host.manners.smart = True, 1
    first = repository.commit(a="1")
    repository.commit(a="2")
    error = await refused(git.fetch(host.remote("app"), first, "main"))
    assert "dumb http transport" in str(error)
    assert not any("/objects/" in path for _, path, _ in host.asked)
    assert not list(paths.cache.glob("git/*/objects/??/*"))


async def test_a_fetch_that_failed_is_not_believed_whatever_it_brought(paths, host, repository, tmp_path):
    commit = repository.commit(a="1")
    place = tmp_path / "bin"
    place.mkdir()
    (place / "prlimit").symlink_to("/usr/bin/prlimit")
    (place / "git").write_text(TORN.format(python=sys.executable))
    (place / "git").chmod(0o755)
    torn = GitCommand(paths.cache / "git", ca_file=str(host.ca_file), path=f"{place}:/usr/bin:/bin")
    await refused(a_git(paths, host, command=torn).fetch(host.remote("app"), commit, "main"))
    mirror = await a_git(paths, host).fetch(host.remote("app"), commit, "main")
    assert len([path for *_, path, _ in host.asked if path.endswith("git-upload-pack")]) >= 2
    assert run_git(mirror, "show", f"{commit}:a") == "1"


TORN = """#!{python} -I
import subprocess, sys
done = subprocess.run(["/usr/bin/git", *sys.argv[1:]])
sys.exit(done.returncode or "fetch" in sys.argv)
"""


def force_push(repository) -> str:
    run_git(repository.place, "checkout", "--quiet", "--orphan", "other")
    commit = repository.commit(a="forced")
    run_git(repository.place, "branch", "-f", "main", commit)
    return commit


# how git is run


SHIM = """#!{python} -I
import json, os, sys
with open({out!r}, "a") as out:
    out.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
os.execv("/usr/bin/git", ["git", *sys.argv[1:]])
"""
REQUIRED_OPTIONS = {
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "credential.helper=",
    "http.followRedirects=false",
    "protocol.version=2",
    "transfer.fsckObjects=true",
    "submodule.recurse=false",
}
REQUIRED_ENV = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
}
COMMANDS = {
    "ls-remote": ["--exit-code", "--end-of-options"],
    "init": ["--quiet", "--bare", "--template="],
    "fetch": ["--depth=1", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--end-of-options"],
    "read-tree": ["-m", "-u"],
    "ls-tree": ["-r", "-t", "-l", "-z", "--full-tree"],
}


def a_shim(tmp_path) -> tuple[pathlib.Path, str]:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "prlimit").symlink_to("/usr/bin/prlimit")
    (place / "git").write_text(SHIM.format(python=sys.executable, out=str(tmp_path / "runs")))
    (place / "git").chmod(0o755)
    return tmp_path / "runs", f"{place}:/usr/bin:/bin"


async def test_every_run_of_git_has_the_whole_environment_and_every_option(
    paths, host, repository, tmp_path, monkeypatch
):
    commit = repository.commit(a="1")
    host.manners.pair = f"x-access-token:{TOKEN}"
    monkeypatch.setenv("GIT_SSH_COMMAND", "touch CANARY")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("LD_PRELOAD_CANARY", "1")
    runs, path = a_shim(tmp_path)
    git = a_git(paths, host, command=GitCommand(paths.cache / "git", ca_file=str(host.ca_file), path=path))
    remote = host.remote("app")
    await git.resolve(remote, "main", Access(TOKEN))
    await written(git, remote, commit, tmp_path / "tree", access=Access(TOKEN))
    await git.fetch(remote, commit, "main", Access(TOKEN))
    seen = {}
    for argv, env in map(json.loads, runs.read_text().splitlines()):
        options = [argv[number + 1] for number, word in enumerate(argv) if word == "-c"]
        command = argv[2 * len(options) :]
        talks = command[0] in {"ls-remote", "fetch"}
        seen[command[0]] = command[1:]
        assert set(options) >= REQUIRED_OPTIONS | set(git_command.OPTIONS)
        assert {key: env.get(key) for key in REQUIRED_ENV} == REQUIRED_ENV
        assert env["GIT_ALLOW_PROTOCOL"] == ("https" if talks else "none")
        assert list(pathlib.Path(env["HOME"]).iterdir()) == []
        assert not {"GIT_SSH_COMMAND", "HTTPS_PROXY", "LD_PRELOAD_CANARY"} & set(env)
        assert TOKEN not in " ".join(argv)
        assert any(option.startswith("http.curloptResolve=localhost:") for option in options) == talks
        assert ("GIT_CONFIG_VALUE_0" in env) == talks
    assert {name: words[: len(COMMANDS[name])] for name, words in seen.items()} == COMMANDS
    assert seen["fetch"][-2:] == [remote, f"{commit}:refs/dployr/{commit}"]
    assert not list(tmp_path.rglob("CANARY"))


async def test_a_run_of_git_is_limited_by_the_kernel(paths):
    command = GitCommand(paths.cache / "git", git_command.Quota(bytes=12345))
    ended = await command.run(("-c", "alias.limits=!cat /proc/self/limits", "limits"), {})
    limits = {line[:26].strip(): line[26:].split()[0] for line in ended.stdout.splitlines()}
    assert (limits["Max file size"], limits["Max core file size"]) == ("12345", str(dumps.CORE))
    assert limits["Max address space"] == str(git_command.MEMORY_BYTES)


async def test_a_host_with_limits_of_its_own_keeps_them(paths, monkeypatch):
    """Only root may go beyond: for everybody else every run of git would fail."""
    lower = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 500}
    real = resource.getrlimit
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (0, lower[kind]) if kind in lower else real(kind))
    words = GitCommand(paths.cache / "git")._limits()
    assert {"--core=0", "--fsize=500"} <= set(words)


@pytest.fixture
async def room(paths, host):
    """git in its sandbox, where this machine has one."""
    if not await git_sandbox.works(shutil.which(git_sandbox.PROGRAM), paths.root):
        pytest.skip("bubblewrap does not work here")
    return GitCommand(paths.cache / "git", ca_file=str(host.ca_file), hidden=paths.root)


async def test_git_in_its_sandbox_sees_nothing_of_ours_and_no_other_process(paths, room, tmp_path):
    (paths.root / "journal.db").write_text("canary")
    other = paths.cache / "git" / "other-mirror"
    other.mkdir(parents=True)
    mirror = paths.cache / "git" / "mirror"
    mirror.mkdir()
    look = f"ls -R {paths.root}; touch {mirror}/mine; touch {tmp_path}/out; grep Cap /proc/self/status; ls /proc"
    ended = await room.run(("-c", f"alias.look=!{look}", "look"), {"GIT_DIR": str(mirror)})
    assert "journal.db" not in ended.stdout and "other-mirror" not in ended.stdout
    assert (mirror / "mine").exists() and not (tmp_path / "out").exists()
    assert all(int(line.split()[1], 16) == 0 for line in ended.stdout.splitlines() if line.startswith("CapEff"))
    assert str(os.getpid()) not in ended.stdout.split()


async def test_a_source_comes_through_the_sandbox_too(paths, host, room, repository, tmp_path):
    commit = repository.write({"a": "1", "d/b": "2"})
    git = a_git(paths, host, command=room)
    tree = paths.root / "services" / "tree"
    tree.parent.mkdir()
    assert await git.resolve(host.remote("app"), "main") == commit
    await written(git, host.remote("app"), commit, tree)
    assert (tree / "d" / "b").read_text() == "2"


async def test_what_git_left_running_behind_a_sandbox_ends_with_it(paths, room, tmp_path):
    mark = f"30{os.getpid()}"
    left = f"!setsid sleep {mark} >/dev/null 2>&1 & echo begun"
    ended = await room.run(("-c", f"alias.left={left}", "left"), {})
    assert "begun" in ended.stdout
    await wait_until_async(
        lambda: not subprocess.run(["pgrep", "-f", f"sleep {mark}"], capture_output=True, check=False).stdout
    )


async def test_a_stalled_pack_ends_at_the_deadline_and_leaves_no_process(paths, host, repository):
    commit = repository.commit(a="1")
    hold = asyncio.Event()
    loop = asyncio.get_running_loop()
    released = []

    def stall():
        released.append(asyncio.run_coroutine_threadsafe(hold.wait(), loop))
        released[-1].result()

    host.manners.before_pack = stall
    git = Git(
        paths, Policy(), allowed("127.0.0.0/8", "::1"), GitCommand(paths.cache / "git", ca_file=str(host.ca_file)), 1.0
    )
    assert (await refused(git.fetch(host.remote("app"), commit, "main"))).code == "fetch_timeout"
    hold.set()
    left = subprocess.run(["pgrep", "-f", str(host.server_port)], capture_output=True, text=True, check=False).stdout
    assert left == ""
    assert not list(paths.cache.glob("git/*/objects/pack/tmp_*"))


def test_what_is_private_is(paths, git):
    git._command.home()
    assert stat.S_IMODE((paths.cache / "git" / "home").stat().st_mode) == 0o700
