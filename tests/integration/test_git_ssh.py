"""Repositories by ssh: the one set of options, a key for each deployment, and servers that are known beforehand."""

import contextlib
import ipaddress
import json
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from node_agent.builder import git_sandbox, ssh
from node_agent.builder.egress import Egress
from node_agent.builder.git import Git, Policy
from node_agent.builder.git_command import GitCommand
from node_agent.errors import ReleaseFailedError
from node_agent.model.source import Access, endpoint
from node_agent.paths import Paths
from tests.builder_fixtures import Repository
from tests.waiting import wait_until

LOOPBACK = Egress((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
real_ssh = pytest.mark.skipif(not pathlib.Path(ssh.SSH).exists(), reason="there is no ssh here")
real_server = pytest.mark.skipif(SSHD is None or os.getuid() != 0, reason="there is no sshd here, or we are not root")

SHIM = """#!{python} -I
import json, os, sys
words = sys.argv[1:]
named = dict(word.split("=", 1) for word in words if "=" in word and not word.startswith("git"))
with open({out!r}, "a") as out:
    shown = [words, dict(os.environ), open(named["IdentityFile"]).read(), open(named["UserKnownHostsFile"]).read()]
    shown.append(oct(os.stat(named["IdentityFile"]).st_mode & 0o777))
    out.write(json.dumps(shown) + "\\n")
program, _, path = words[-1].partition(" ")
os.execv("/usr/bin/" + program, [program, path.strip("'")])
"""


def a_key() -> tuple[str, str]:
    made = ed25519.Ed25519PrivateKey.generate()
    private = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = made.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "root").mkdir()
    return Paths(tmp_path / "root")


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


@pytest.fixture
def shim(tmp_path):
    program = tmp_path / "shim"
    program.write_text(SHIM.format(python=sys.executable, out=str(tmp_path / "runs")))
    program.chmod(0o755)
    return program


async def refused(coroutine) -> ReleaseFailedError:
    with pytest.raises(ReleaseFailedError, match=r"^cannot ") as caught:
        await coroutine
    return caught.value


async def test_ssh_is_run_with_one_set_of_options_and_the_key_is_gone_afterwards(paths, repository, shim, tmp_path):
    private, _ = a_key()
    commit = repository.commit(a="1")
    git = Git(paths, Policy(allow_ssh=True, ssh=str(shim)), LOOPBACK)
    access = Access(key=private, host_key="ssh-ed25519 AAAA")
    for remote, alias in (
        (f"ssh://git@localhost:2222{repository.place}", "[localhost]:2222"),
        (f"git@localhost:{repository.place}", "localhost"),
    ):
        assert await git.resolve(remote, "main", access) == commit
        await git.fetch(remote, commit, "main", access)
        words, env, key, known, mode = json.loads((tmp_path / "runs").read_text().splitlines()[-1])
        assert words[:2] == ["-F", "/dev/null"]
        given = [words[number + 1] for number, word in enumerate(words) if word == "-o"]
        assert set(given) >= {*ssh.OPTIONS, f"HostKeyAlias={alias}"}
        assert {"HostName=127.0.0.1", "HostName=::1"} & set(given)
        assert (key, known, mode) == (private, f"{alias} ssh-ed25519 AAAA\n", "0o600")
        assert private.splitlines()[1] not in " ".join(words) + json.dumps(env)
        assert "SSH_AUTH_SOCK" not in env and env["GIT_ALLOW_PROTOCOL"] == "ssh"
        assert words[-2] == "git@localhost"
    assert not list(paths.cache.glob("git/ssh-*"))


@real_ssh
def test_real_ssh_takes_the_options_as_they_are_meant(tmp_path):
    access = Access(key=a_key()[0], host_key="ssh-ed25519 AAAA")
    with ssh.prepared(tmp_path, endpoint("git@git.example.test:a"), "192.0.2.1", access, None) as variables:
        shown = subprocess.run(
            [variables["GIT_SSH"], "-G", "git@git.example.test"], capture_output=True, text=True, check=True
        ).stdout
    said = dict(line.split(" ", 1) for line in shown.splitlines() if " " in line)
    wanted = {
        "hostname": "192.0.2.1",
        "hostkeyalias": "git.example.test",
        "batchmode": "yes",
        "identitiesonly": "yes",
        "identityagent": "none",
        "stricthostkeychecking": "true",
        "forwardagent": "no",
        "permitlocalcommand": "no",
        "passwordauthentication": "no",
        "controlmaster": "false",
        "clearallforwardings": "yes",
        "updatehostkeys": "false",
        "globalknownhostsfile": "/dev/null",
    }
    assert {name: said.get(name) for name in wanted} == wanted
    assert said.get("proxycommand", "none") == "none" and said.get("proxyjump", "none") == "none"
    assert not list(tmp_path.iterdir())


def test_the_operator_s_file_of_known_servers_goes_through_as_it_is(tmp_path):
    known, scratch = tmp_path / "known", tmp_path / "scratch"
    known.write_bytes(b"# caf\xe9\ngit.example.test ssh-ed25519 AAAA\n")
    scratch.mkdir()
    with ssh.prepared(scratch, endpoint("git@git.example.test:a"), "192.0.2.1", Access(key="k"), known):
        assert next(scratch.glob("*/known_hosts")).read_bytes() == known.read_bytes()
        assert next(scratch.glob("*/key")).read_bytes() == b"k\n"


async def test_ssh_is_off_unless_the_operator_turns_it_on(paths, repository):
    for remote in ("ssh://git@localhost/a", "git@localhost:a"):
        error = await refused(Git(paths, Policy(), LOOPBACK).resolve(remote, "main"))
        assert (error.code, "--allow-ssh-remotes" in str(error)) == ("remote_refused", True)


async def test_a_host_that_leads_inside_is_not_called_by_ssh(paths, shim, tmp_path):
    git = Git(paths, Policy(allow_ssh=True, ssh=str(shim)))
    assert (await refused(git.resolve("git@localhost:a", "main"))).code == "remote_refused"
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "remote",
    [
        "ssh://-oProxyCommand=x/a",
        "ssh://git@-oProxyCommand=x/a",
        "git@-x:a",
        "git@localhost:-a",
        "ssh://a:b@localhost/x",
    ],
)
async def test_options_for_ssh_never_reach_it(paths, shim, tmp_path, remote):
    git = Git(paths, Policy(allow_ssh=True, ssh=str(shim)), LOOPBACK)
    assert (await refused(git.resolve(remote, "main"))).code == "remote_refused"
    assert not (tmp_path / "runs").exists()


# a real server


class Server:
    """sshd on loopback, for ourselves alone."""

    def __init__(self, place: pathlib.Path, allowed: str) -> None:
        place.mkdir()
        private, self.public = a_key()
        for name, text in {"host": private, "allowed": f"{allowed}\n"}.items():
            (place / name).touch(mode=0o600)
            (place / name).write_text(text)
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        options = (f"ListenAddress 127.0.0.1:{self.port}", f"HostKey {place}/host", "PidFile none", "UsePAM no")
        options += (f"AuthorizedKeysFile {place}/allowed", "StrictModes no", "PasswordAuthentication no")
        words = [word for option in options for word in ("-o", option.replace(" ", "=", 1))]
        pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        self._child = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", *words], stderr=subprocess.DEVNULL)
        try:
            wait_until(self._answers)
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        with contextlib.closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def remote(self, place: pathlib.Path) -> str:
        return f"ssh://{pwd.getpwuid(os.getuid()).pw_name}@127.0.0.1:{self.port}{place}"

    def close(self) -> None:
        self._child.terminate()
        self._child.wait(10)


@real_ssh
@real_server
async def test_a_real_server_gives_out_its_repository_to_the_key_and_is_believed_by_its_own(
    paths, repository, tmp_path
):
    private, public = a_key()
    commit = repository.commit(a="1")
    server = Server(tmp_path / "sshd", public)
    try:
        remote, git = server.remote(repository.place), Git(paths, Policy(allow_ssh=True), LOOPBACK)
        access = Access(key=private, host_key=server.public)
        assert await git.resolve(remote, "main", access) == commit
        (tmp_path / "tree").mkdir()
        await git.checkout(await git.fetch(remote, commit, "main", access), commit, tmp_path / "tree")
        assert (tmp_path / "tree" / "a").read_text() == "1"
        hidden = paths.root if await git_sandbox.works(shutil.which(git_sandbox.PROGRAM), paths.root) else None
        inside = Git(paths, Policy(allow_ssh=True), LOOPBACK, GitCommand(paths.cache / "git", hidden=hidden))
        assert await inside.resolve(remote, "main", access) == commit
        other = Access(key=private, host_key=a_key()[1])
        assert (await refused(git.resolve(remote, "main", other))).code == "host_key_refused"
        unknown = Access(key=private)
        assert (await refused(git.resolve(remote, "main", unknown))).code == "host_key_refused"
        stranger = Access(key=a_key()[0], host_key=server.public)
        assert (await refused(git.resolve(remote, "main", stranger))).code == "repository_not_found"
        known = tmp_path / "known_hosts"
        known.write_bytes(b"# caf\xe9\n" + f"[127.0.0.1]:{server.port} {server.public}\n".encode())
        trusting = Git(paths, Policy(allow_ssh=True, known_hosts=known), LOOPBACK)
        assert await trusting.resolve(remote, "main", unknown) == commit
        assert (await refused(trusting.resolve(remote, "main", other))).code == "host_key_refused"
    finally:
        server.close()
