"""What the agent takes as a source: its operator's settings, the grammar of remotes, addresses that may be called."""

import ipaddress

import pytest

from addresses import public
from node_agent import config, wiring
from node_agent.builder.egress import Egress
from node_agent.errors import ReleaseFailedError
from node_agent.model import disk, source

BASE = ("--data-dir", "/x", "--hub", "h:1", "--enrol", "h:2", "--proxy-listen", "h:3")


def settings(*more, **environment):
    return config.load((*BASE, *more), environment)


def test_everything_but_https_is_off_until_the_operator_says_so(tmp_path):
    plain = settings()
    assert (plain.allow_file_remotes, plain.allow_ssh_remotes, plain.ssh_known_hosts, plain.git_allow) == (
        False,
        False,
        None,
        (),
    )
    known = tmp_path / "known_hosts"
    known.touch()
    said = settings("--allow-ssh-remotes", "--ssh-known-hosts", str(known), "--git-allow", "10.1.0.0/16, fd00::/8")
    assert (said.allow_ssh_remotes, said.ssh_known_hosts) == (True, known)
    assert said.git_allow == (ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8"))
    assert settings(DPLOYR_AGENT_ALLOW_SSH_REMOTES="yes").allow_ssh_remotes


def test_the_budgets_of_the_disk_are_sizes_and_have_defaults():
    said = settings("--disk-reserve", "2G", "--build-disk", "500M", DPLOYR_AGENT_CACHE_DISK="0")
    assert (said.disk_reserve, said.build_disk, said.cache_disk) == (2 << 30, 500 << 20, 0)
    plain = settings()
    assert disk.budgets(plain.disk_reserve, plain.build_disk, plain.cache_disk) == disk.Budgets()
    assert disk.budgets(said.disk_reserve, said.build_disk, said.cache_disk) == disk.Budgets(
        reserve_bytes=2 << 30, build=disk.Use(500 << 20, disk.Budgets().build.entries), caches_bytes=0
    )


@pytest.mark.parametrize(
    "more", [("--git-allow", "everything"), ("--ssh-known-hosts", "/nowhere"), ("--disk-reserve", "much")]
)
def test_a_setting_that_is_none_is_refused_by_its_name(more):
    with pytest.raises(config.SettingsError, match=more[0].removeprefix("--").replace("-", "_")):
        settings(*more)


def test_an_instance_says_what_its_sources_may_be(tmp_path):
    (tmp_path / "known").touch()
    said = [
        dict(wiring.source_capabilities(settings(*more), is_hidden=False))
        for more in (
            (),
            ("--allow-ssh-remotes",),
            ("--allow-ssh-remotes", "--ssh-known-hosts", str(tmp_path / "known")),
        )
    ]
    assert [one["ssh_remotes"] for one in said] == ["no", "pinned", "known_hosts"]
    assert said[0]["images"].startswith("no: ")


@pytest.mark.parametrize(
    ("remote", "where"),
    [
        ("https://Git.example.test/a/b", source.Endpoint("https", "git.example.test", 443)),
        ("https://git.example.test:8443/a", source.Endpoint("https", "git.example.test", 8443)),
        ("ssh://git@git.example.test/a", source.Endpoint("ssh", "git.example.test", 22)),
        ("ssh://git.example.test:2222/a", source.Endpoint("ssh", "git.example.test", 2222)),
        ("git@git.example.test:a/b.git", source.Endpoint("ssh", "git.example.test", 22)),
        ("file:///srv/a", source.Endpoint("file")),
    ],
)
def test_a_remote_is_on_one_machine(remote, where):
    assert source.remote_issue(remote, allow_file=True, allow_ssh=True) == ""
    assert source.endpoint(remote) == where


@pytest.mark.parametrize("remote", ["https://a.test:0/x", "https://a.test:70000/x", "ssh://a.test:0/x"])
def test_a_port_that_is_none_is_refused(remote):
    assert "port" in source.remote_issue(remote, allow_file=False, allow_ssh=True)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "198.18.0.1", "192.168.1.1", "0.0.0.0"),
        *("::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "168.63.129.16"),
    ],
)
def test_what_is_not_public_is_not_called_unless_the_operator_allows_it(address):
    found = public.plain(ipaddress.ip_address(address))
    assert public.first_refused([ipaddress.ip_address("1.1.1.1"), found], ()) == found
    network = ipaddress.ip_network(f"{found}/{found.max_prefixlen}")
    assert public.first_refused([found], (network,)) is None


async def test_one_bad_address_among_good_ones_is_enough():
    async def resolve(*_):
        return ("1.1.1.1", "10.0.0.1")

    with pytest.raises(ReleaseFailedError, match="not public") as caught:
        await Egress((), resolve).checked("git.example.test", 443)
    assert "10.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("answer", [(), ("nonsense",), OSError("no such name")])
async def test_a_name_that_leads_nowhere_is_said(answer):
    async def resolve(*_):
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(ReleaseFailedError, match="cannot find the address of"):
        await Egress((), resolve).checked("git.example.test", 443)
