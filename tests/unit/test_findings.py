"""What the doctor concludes from facts: every row says enforced or what to do, never both."""

import dataclasses

import pytest

from node_agent.model.findings import START, Facts, Finding, findings

WELL = Facts(
    capabilities={
        "isolation": "users: a uid for each app and one for its builds",
        "agent_user": "uid 998",
        "limits": "memory,cpu,pids",
        "limits_rung": "cgroup v2",
        "build_calls": "refused: metadata services",
        "proxy": "managed nginx",
    },
    silence="",
    uid=0,
    cgroups="v2",
    user_namespaces=True,
    nginx="/usr/sbin/nginx",
    git="git version 2.39.5",
    holes=True,
    inotify_watches=65536,
    open_files=65536,
    clock_is_set=True,
    free_bytes=1 << 40,
)


def missing(**changes: object) -> dict[str, Finding]:
    return {row.what: row for row in findings(dataclasses.replace(WELL, **changes)) if not row.enforced}


def told(**changes: str) -> dict[str, Finding]:
    return missing(capabilities={**WELL.capabilities, **changes})


def test_where_all_is_enforced_there_is_nothing_to_do() -> None:
    assert missing() == {}
    assert [row.do for row in findings(WELL) if row.do] == []


@pytest.mark.parametrize(
    ("changes", "what", "do"),
    [
        ({"git": ""}, "builds from git", "apt-get install git"),
        ({"holes": False}, "logs within their budget", "ext4"),
        ({"inotify_watches": 100}, "wake-ups for logs", "sysctl fs.inotify.max_user_watches"),
        ({"open_files": 1024}, "open files", "LimitNOFILE="),
        ({"clock_is_set": False}, "a clock that is right", "chrony"),
        ({"free_bytes": 1 << 20}, "free disk space", "free space"),
        ({"uid": 1000, "user_namespaces": False}, "private mounts", "as root"),
    ],
)
def test_each_lack_is_one_row_with_its_remedy(changes, what: str, do: str) -> None:
    found = missing(**changes)
    assert list(found) == [what]
    assert do in found[what].do


def test_a_silent_supervisor_makes_unknown_what_only_it_can_say_and_nothing_else() -> None:
    found = missing(capabilities=None, silence="cannot reach the supervisor")
    assert found["supervision"].how == "cannot reach the supervisor"
    assert {row.do for row in found.values()} == {START}
    assert "builds from git" not in found


def test_a_supervisor_that_is_not_root_is_told_how_to_isolate() -> None:
    words = {**WELL.capabilities, "isolation": "none: not root"}
    found = missing(uid=1000, capabilities=words)["a user for each application"]
    assert found.how == "none: not root"
    assert found.do == "run dployr-supervisor as root"


def test_root_without_isolation_is_told_to_read_the_reason() -> None:
    assert "reason" in told(isolation="none: other users cannot enter /root")["a user for each application"].do


def test_an_agent_that_is_root_is_told_how_not_to_be() -> None:
    found = told(agent_user="none: the agent is root, as the supervisor is")["an agent that is not root"]
    assert "--agent-user" in found.do


def test_limits_that_lack_one_name_it() -> None:
    found = told(limits="memory,pids")["limits of memory, cpu and pids"]
    assert found.how == "cgroup v2; not cpu"
    assert "Delegate=yes" in found.do


def test_a_host_that_cannot_refuse_calls_is_told_what_that_takes() -> None:
    found = told(build_calls="none: Operation not permitted")["what builds may not call"]
    assert (found.how, "cgroup v2" in found.do) == ("none: Operation not permitted", True)


def test_without_control_groups_they_are_wanted_first() -> None:
    words = {**WELL.capabilities, "limits": "", "limits_rung": "watchdog: there is no cgroup"}
    found = missing(cgroups="", capabilities=words)
    assert "mount control groups" in found["limits of memory, cpu and pids"].do
    assert found["the end of whole process trees"].how == "watchdog: there is no cgroup"


@pytest.mark.parametrize(("nginx", "do"), [("", "apt-get install nginx-light"), ("/usr/sbin/nginx", "restart")])
def test_a_proxy_that_is_missing_is_installed_or_found_by_a_restart(nginx: str, do: str) -> None:
    words = {**WELL.capabilities, "proxy": "none: nginx is not installed"}
    assert do in missing(nginx=nginx, capabilities=words)["the proxy"].do
