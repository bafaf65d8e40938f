"""Repositories by ssh: what may be declared, where, and the key that a deployment reads them with."""

import dataclasses
import json

import pytest
from cryptography.hazmat.primitives import serialization

from control_plane import errors
from control_plane.api import models_deployments
from control_plane.domain import abilities, deployment, grammar, release
from control_plane.domain.deployment import DeploymentChanges
from control_plane.fakes.store import MemoryStore
from control_plane.services import deploy_keys
from control_plane.services.context import Context, ensure_defaults
from control_plane.services.deployments import Deployments
from control_plane.services.instances import Instances
from tests import builders
from tests.builders import OPERATOR

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIIII"
REMOTE = "ssh://git@git.example.com/team/app.git"
SHORT = "git@git.example.com:team/app.git"


def accepted(ssh=abilities.PINNED, *, allow_ssh=True, **changes):
    able = abilities.Abilities(name="host-1", sources=("remote", "local"), ssh=ssh)
    fields = builders.some_fields(**{"remote": REMOTE, "git_host_key": HOST_KEY, **changes})
    return deployment.validated(fields, allow_ssh=allow_ssh, able=able)


def refused(ssh=abilities.PINNED, **changes):
    with pytest.raises(errors.InvalidError) as caught:
        accepted(ssh, **changes)
    details = caught.value.details
    return {problem["field"]: problem["issue"] for problem in details.get("errors", [details])}


@pytest.mark.parametrize(
    "remote", [REMOTE, SHORT, "ssh://git.example.com:2222/srv/a", "git@git.example.com:/srv/git/a.git"]
)
def test_both_spellings_are_taken_where_the_operator_allows_them(remote):
    assert accepted(remote=remote).remote == remote
    assert "its operator can set allow_ssh_remotes" in refused(remote=remote, allow_ssh=False)["remote"]
    assert "instance host-1 takes https:// alone" in refused("", remote=remote)["remote"]


@pytest.mark.parametrize(
    "remote",
    [
        "ssh://-oProxyCommand=touch%20X/a",
        "ssh://git@-oProxyCommand=x/a",
        "ssh://git:secret@git.example.com/a",
        "ssh://git@git.example.com/-x",
        "git@git.example.com:-x",
        "-oProxyCommand=x:a",
        "git@git.example.com:a b",
        "ssh://git.example.com/a;touch X",
        "git+ssh://git.example.com/a",
        "ssh://git.example.com",
        "GIT@git.example.com:a\n",
    ],
)
def test_what_could_be_an_option_or_a_command_is_no_remote(remote):
    assert not grammar.is_ssh(remote)
    assert "remote" in refused(remote=remote)


def test_a_server_is_known_by_its_key_and_never_at_first_sight():
    assert "instance host-1 knows no ssh server" in refused(git_host_key="")["git_host_key"]
    assert accepted(abilities.KNOWN_HOSTS, git_host_key="").git_host_key == ""
    assert "git_host_key" in refused(git_host_key="* ssh-ed25519 AAAA")
    assert "git_host_key" in refused(git_host_key=f"{HOST_KEY}\n@cert-authority * {HOST_KEY}")
    assert "for ssh" in refused(remote="https://git.example.com/a/b")["git_host_key"]
    assert "deploy key" in refused(git_token="x")["git_token"]


def test_another_server_needs_its_own_key():
    config = accepted()
    for other, kept in ((SHORT, HOST_KEY), ("ssh://git@other.example.com/a", "")):
        assert deployment.merged("app", "prj", config, DeploymentChanges(remote=other)).git_host_key == kept


def test_a_key_is_made_once_and_is_that_of_its_public_half():
    ids = builders.CountingIds()
    made = deploy_keys.with_key(ids, "app", accepted())
    private = serialization.load_ssh_private_key(made.deploy_key.encode(), None)
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    assert made.deploy_public_key == f"{public.decode()} dployr:app"
    assert deploy_keys.with_key(ids, "app", accepted(remote=SHORT), made).deploy_key == made.deploy_key
    assert deploy_keys.with_key(ids, "app", accepted()).deploy_key != made.deploy_key
    by_https = deploy_keys.with_key(ids, "app", builders.a_config(), made)
    assert (by_https.deploy_key, by_https.deploy_public_key) == ("", "")


@pytest.fixture
async def deployments():
    ids = builders.CountingIds()
    context = Context(MemoryStore(), _Nobody(), builders.StillClock(), ids, allow_ssh_remotes=True)
    await ensure_defaults(context)
    instances = Instances(context)
    host = await instances.enrol(await instances.mint_join_token(None), "host-1")
    facts = {"memory_bytes": 1 << 30, "capabilities": {"sources": "remote,local", "ssh_remotes": "pinned"}}
    await instances.connected(host.id, "0.1.0", "boot", facts)
    return Deployments(context)


class _Nobody:
    def instance_changed(self, _: str) -> None:
        pass


async def test_a_deployment_shows_the_public_half_alone(deployments):
    fields = builders.some_fields(remote=REMOTE, git_host_key=HOST_KEY)
    view = await deployments.create(OPERATOR, fields)
    shown = models_deployments.DeploymentShape.of(view).model_dump()
    config = view.deployment.config
    assert shown["deploy_key"] == config.deploy_public_key
    assert shown["deploy_key"].startswith("ssh-ed25519 ")
    assert shown["git_host_key"] == HOST_KEY
    secret = config.deploy_key.splitlines()[1]
    assert secret not in json.dumps(shown) + repr(view)
    assert "deploy_public_key" not in shown["sources"]


async def test_a_change_keeps_the_key_and_leaving_ssh_drops_it(deployments):
    view = await deployments.create(OPERATOR, builders.some_fields(remote=REMOTE, git_host_key=HOST_KEY))
    changed, _ = await deployments.update(OPERATOR, "app", DeploymentChanges(branch="next"))
    assert changed.deployment.config.deploy_key == view.deployment.config.deploy_key
    https = DeploymentChanges(remote="https://git.example.com/team/app", git_host_key="")
    left, _ = await deployments.update(OPERATOR, "app", https)
    assert left.deployment.config.deploy_public_key == ""


async def test_going_back_keeps_the_key_of_today_and_finds_that_of_then_where_there_is_none(deployments):
    """The key that was left behind may be the reason why it was left."""
    first = await deployments.create(OPERATOR, builders.some_fields(remote=REMOTE, git_host_key=HOST_KEY))
    https = DeploymentChanges(remote="https://git.example.com/team/app", git_host_key="")
    await deployments.update(OPERATOR, "app", https)
    back = await _go_back(deployments, 1)
    assert back.deploy_key == first.deployment.config.deploy_key
    assert (await _go_back(deployments, 2)).deploy_key == ""
    later, _ = await deployments.update(OPERATOR, "app", DeploymentChanges(remote=REMOTE, git_host_key=HOST_KEY))
    assert later.deployment.config.deploy_key != first.deployment.config.deploy_key
    assert (await _go_back(deployments, 1)).deploy_key == later.deployment.config.deploy_key


async def _go_back(deployments, number):
    async with deployments._context.write() as tx:
        deployment = await tx.find_deployment("app")
        target = await tx.get_release(deployment.id, number)
        await tx.update_release(dataclasses.replace(target, state=release.State.RETIRED.value))
    return (await deployments.rollback(OPERATOR, "app", number)).deployment.config


async def test_an_operator_who_allows_no_ssh_is_named(deployments):
    context = dataclasses.replace(deployments._context, allow_ssh_remotes=False)
    with pytest.raises(errors.InvalidError) as caught:
        await Deployments(context).create(OPERATOR, builders.some_fields(remote=SHORT, git_host_key=HOST_KEY))
    assert "allow_ssh_remotes" in json.dumps(caught.value.details)
