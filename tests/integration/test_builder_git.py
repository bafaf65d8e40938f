"""The git wrapper against real git and hostile words."""

import asyncio
import base64
import http.server
import ipaddress
import os
import socket
import ssl
import subprocess
import threading

import pytest
import trustme

from node_agent.builder import children, mirrors
from node_agent.builder.egress import Egress
from node_agent.builder.git import Git, Policy, credential
from node_agent.builder.git_command import GitCommand
from node_agent.errors import ReleaseFailedError
from node_agent.model.source import Access
from node_agent.paths import Paths
from tests.builder_fixtures import Repository
from tests.builder_fixtures import git as run_git
from tests.waiting import wait_until_async

LOOPBACK = Egress((ipaddress.ip_network("127.0.0.0/8"),))


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "root").mkdir()
    return Paths(tmp_path / "root")


@pytest.fixture
def git(paths):
    return Git(paths, Policy(allow_file=True), LOOPBACK)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


async def code(coroutine) -> str:
    with pytest.raises(ReleaseFailedError) as caught:
        await coroutine
    assert len(str(caught.value)) < 700
    return caught.value.code


async def test_a_branch_and_a_tag_become_commits(git, repository):
    first = repository.commit(a="1")
    run_git(repository.place, "tag", "-a", "v1", "-m", "one")
    run_git(repository.place, "branch", "feature/main")
    second = repository.commit(a="2")
    assert await git.resolve(repository.remote, "main") == second
    assert await git.resolve(repository.remote, "feature/main") == first
    assert await git.resolve(repository.remote, "v1") == first


async def test_the_files_of_a_commit_are_written_with_modes_and_links(git, repository, tmp_path):
    repository.write({"dir/a": "1"})
    (repository.place / "run").write_text("#!/bin/sh\n")
    (repository.place / "run").chmod(0o755)
    (repository.place / "out").symlink_to("/etc")
    commit = repository.write({})
    tree = tmp_path / "tree"
    tree.mkdir()
    await git.checkout(await git.fetch(repository.remote, commit), commit, tree)
    assert sorted(entry.name for entry in tree.iterdir()) == ["dir", "out", "run"]
    assert os.access(tree / "run", os.X_OK) and (tree / "out").is_symlink()


async def test_a_second_fetch_of_a_commit_asks_nobody(git, repository, tmp_path):
    commit = repository.commit(a="1")
    await git.fetch(repository.remote, commit)
    repository.place.rename(tmp_path / "gone")
    await git.fetch(repository.remote, commit)


async def test_the_whole_branch_brings_what_is_behind_its_head(git, repository):
    """For servers that refuse a bare commit; a local one with protocol 2 never does, so the step is called itself."""
    first = repository.commit(a="1")
    head = repository.commit(a="2")
    mirror = await git.fetch(repository.remote, head)
    assert (mirror / "shallow").exists()
    ended = await git._fetch_object(mirror, repository.remote, "refs/heads/main", deep=True)
    assert ended.code == 0
    run_git(mirror, "cat-file", "-e", f"{first}^{{commit}}")


async def test_a_killed_fetch_leaves_nothing_in_the_way(git, repository, paths):
    mirror = await git.fetch(repository.remote, repository.commit(a="1"))
    (mirror / "shallow.lock").write_text("")
    (mirror / "objects/pack").mkdir(exist_ok=True)
    (mirror / "objects/pack/tmp_pack_x").write_text("")
    await git.fetch(repository.remote, repository.commit(a="2"))
    assert not list(mirror.glob("*.lock")) and not list(mirror.glob("objects/pack/tmp_*"))


async def test_what_an_end_of_the_host_tore_is_fetched_again(git, repository, tmp_path):
    commit = repository.commit(words="one")
    mirror = await git.fetch(repository.remote, commit)
    (mirror / "refs" / "dployr" / commit).write_text("")
    assert not mirrors.holds(mirror, commit)
    assert mirrors.holds(await git.fetch(repository.remote, commit), commit)

    (mirror / mirrors.MADE).unlink()  # as the deletion of a mirror begins, and as making one ends
    (mirror / "HEAD").unlink()
    await git.fetch(repository.remote, commit)
    tree = tmp_path / "tree"
    tree.mkdir()
    await git.checkout(mirror, commit, tree)
    assert (tree / "words").read_text() == "one"


@pytest.mark.parametrize("damaged", ["HEAD", "*.idx", "*.pack"])
async def test_a_damaged_mirror_fails_one_release_and_is_fetched_anew(git, repository, tmp_path, damaged):
    commit = repository.commit(words="one")
    mirror = await git.fetch(repository.remote, commit)
    for file in mirror.rglob(damaged):
        file.chmod(0o600)
        file.write_bytes(b"")
    tree = tmp_path / "tree"
    tree.mkdir()
    if damaged != "HEAD":  # which the next fetch looks at itself
        assert await code(git.checkout(await git.fetch(repository.remote, commit), commit, tree)) == "checkout_failed"
    await git.checkout(await git.fetch(repository.remote, commit), commit, tree)
    assert (tree / "words").read_text() == "one"


@pytest.mark.parametrize("what", ["HEAD^{tree}", "HEAD:words"])
async def test_an_id_of_something_else_is_no_commit(git, repository, tmp_path, what):
    repository.commit(words="one")
    other = run_git(repository.place, "rev-parse", what)
    assert await code(git.checkout(await git.fetch(repository.remote, other), other, tmp_path)) == "commit_not_found"
    assert list(tmp_path.glob("words")) == []


async def test_a_mirror_with_many_snapshots_is_begun_anew(git, repository):
    commit = repository.commit(a="1")
    mirror = await git.fetch(repository.remote, commit)
    for number in range(50):
        (mirror / "refs/dployr" / f"{number:040x}").write_text(commit)
    await git.fetch(repository.remote, repository.commit(a="2"))
    assert len(list((mirror / "refs/dployr").iterdir())) == 1


async def test_concurrent_fetches_share_one_mirror(git, repository, paths):
    commit = repository.commit(a="1")
    mirrors = await asyncio.gather(*(git.fetch(repository.remote, commit) for _ in range(4)))
    assert len(set(mirrors)) == 1


HOSTILE = [
    "--upload-pack=touch X;git-upload-pack",
    "-oProxyCommand=touch X",
    "ext::sh -c touch% X",
    "ssh://git@host/x",
    "git@host:a/b",
    "http://host/a/b",
    "git://host/a/b",
    "https://user:secret@host/a/b",
    "https://host/a\nb",
    "https://host/a b",
    "https://-host/a",
    "https://host",
    "file:///a/../b",
    "/etc",
    "fd::17",
    "",
    "https://host/" + "a" * 3000,
]


@pytest.mark.parametrize("remote", HOSTILE)
async def test_a_hostile_remote_never_reaches_git(git, remote, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert await code(git.resolve(remote, "main")) == "remote_refused"
    assert await code(git.fetch(remote, "0" * 40)) == "remote_refused"
    assert not list(tmp_path.rglob("X"))


@pytest.mark.parametrize(
    "branch",
    ["--upload-pack=touch X;git-upload-pack", "-x", "a..b", "a b", "", "/a", "a.lock", "@{-1}", "a\nb", "refs/*"],
)
async def test_a_hostile_branch_never_reaches_git(git, repository, branch, tmp_path):
    repository.commit(a="1")
    assert await code(git.resolve(repository.remote, branch)) == "branch_not_found"
    assert not list(tmp_path.rglob("X"))


async def test_file_remotes_are_off_by_default(paths, repository):
    repository.commit(a="1")
    assert await code(Git(paths, Policy()).resolve(repository.remote, "main")) == "remote_refused"


async def test_git_itself_refuses_other_protocols(paths):
    """The second wall: also a remote that the grammar let through by mistake."""
    for address in ("ext::sh -c true", "file:///tmp"):
        ended = await GitCommand(paths.cache).run(("ls-remote", "--end-of-options", address), {}, protocol="https")
        assert "not allowed" in ended.stderr


async def test_what_is_missing_is_named(git, repository, tmp_path):
    repository.commit(a="1")
    assert await code(git.resolve(f"file://{tmp_path}/none", "main")) == "repository_not_found"
    assert await code(git.resolve(repository.remote, "none")) == "branch_not_found"
    assert await code(git.fetch(repository.remote, "1" * 40, "main")) == "commit_not_found"
    assert await code(git.fetch(repository.remote, "1234567", "main")) == "commit_not_found"
    assert await code(git.fetch(repository.remote, "main", "main")) == "commit_not_found"


async def test_a_server_that_nobody_answers_for_is_a_failed_fetch(git):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"https://127.0.0.1:{closed.getsockname()[1]}/a/b"
    assert await code(git.resolve(address, "main")) == "fetch_failed"


async def test_a_server_that_stalls_ends_at_the_deadline(paths):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"https://127.0.0.1:{server.getsockname()[1]}/a/b"
        assert await code(Git(paths, Policy(), LOOPBACK, fetch_s=0.5).resolve(address, "main")) == "fetch_timeout"


async def test_a_cancelled_child_takes_its_group_along(tmp_path):
    pid_file = tmp_path / "pid"
    command = ("/bin/sh", "-c", f"sleep 600 & echo $! > {pid_file}; wait")
    task = asyncio.create_task(children.run(command, {"PATH": "/usr/bin:/bin"}, 60))
    await wait_until_async(lambda: pid_file.exists() and pid_file.read_text().strip())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pid = int(pid_file.read_text())

    def gone():
        state = subprocess.run(
            ["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True
        ).stdout.strip()
        return not state or state.startswith("Z")

    await wait_until_async(gone)


async def test_the_output_of_a_child_is_bounded():
    ended = await children.run(("/usr/bin/head", "-c", "3000000", "/dev/zero"), {}, 60)
    assert len(ended.stdout) == children.MAX_OUTPUT


async def test_a_configured_hook_or_filter_does_not_run(git, repository, tmp_path):
    repository.write(
        {
            ".gitattributes": "* filter=evil\n",
            ".gitmodules": '[submodule "x"]\npath = x\nurl = ext::touch X\n',
            "a": "1",
        }
    )
    commit = run_git(repository.place, "rev-parse", "HEAD")
    tree = tmp_path / "tree"
    tree.mkdir()
    await git.checkout(await git.fetch(repository.remote, commit), commit, tree)
    assert (tree / "a").read_text() == "1"
    assert not list(tmp_path.rglob("X"))


class Asked(http.server.BaseHTTPRequestHandler):
    """A server behind a password: 401 until somebody shows one."""

    def do_GET(self) -> None:
        self.server.shown.append(self.headers.get("Authorization", ""))
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def https_server(tmp_path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    server.shown = []
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("token", "pair"), [("ghp_secret", "x-access-token:ghp_secret"), ("ann:p:w", "ann:p:w")], ids=["token", "pair"]
)
async def test_git_shows_the_token_to_its_remote_and_nowhere_else(https_server, paths, token, pair):
    remote = f"https://localhost:{https_server.server_port}/team/app.git"
    variables = credential(remote, token)
    assert token not in " ".join([remote, *variables, *variables.values()])
    trusting = {
        "PATH": "/usr/bin:/bin",
        "GIT_SSL_NO_VERIFY": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "/bin/false",
    }
    arguments = ("git", "-c", "credential.helper=", "ls-remote", remote)
    ended = await children.run(arguments, {**trusting, **variables}, 30.0)
    assert ended.code != 0
    assert token not in ended.stdout + ended.stderr
    assert https_server.shown[0] == "Basic " + base64.b64encode(pair.encode()).decode()
    https_server.shown.clear()
    elsewhere = credential("https://localhost:1/team/app.git", token)
    await children.run(arguments, {**trusting, **elsewhere}, 30.0)
    assert not any(https_server.shown)


def test_a_remote_without_tls_is_shown_no_token():
    assert credential("file:///x", "t") == {}
    assert credential("https://a.example/x", "") == {}


@pytest.mark.parametrize("token", ["a b", "a\nX-Evil: 1", "a\r\n", "ü", "a\0", "t" * 1025])
async def test_a_token_that_is_none_is_refused(paths, token):
    with pytest.raises(ReleaseFailedError, match="cannot use git_token") as caught:
        await Git(paths, Policy()).resolve("https://a.example.test/x", "main", Access(token))
    assert caught.value.code == "bad_git_token"
    assert token not in str(caught.value)


async def test_what_a_token_opened_is_not_given_to_who_lacks_it(repository, paths):
    git = Git(paths, Policy(allow_file=True), LOOPBACK)
    commit = repository.commit(a="1")
    opened, other, none = [
        await git.fetch(repository.remote, commit, access=Access(token)) for token in ("one", "two", "")
    ]
    assert len({opened, other, none}) == 3
