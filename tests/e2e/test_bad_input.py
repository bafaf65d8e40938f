"""Bad input: a 400 in the envelope with field and issue, or a failed release with one clear sentence; nothing half-made."""

import pathlib

import pytest

from tests.e2e.conftest import node_app
from tests.e2e.platform import FRAGILE, Platform, Refused
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)
GOOD = {
    "name": "bad-input",
    "source": "remote",
    "remote": "https://git.example.test/user/repo",
    "branch": "main",
    "runtime": "nodejs",
    "version": "20",
    "run_cmd": "node server.js",
    "port": 3000,
}


BAD = (
    ("runtime", "cobol"),
    ("version", "3000"),
    ("colour", "blue"),
    ("name", "Not A Name"),
    ("name", "x; touch /tmp/owned"),
    ("name", "x" * 64),
    ("project", "nowhere"),
    ("source", "ftp"),
    ("source", "image"),
    ("image", "registry.example.test/app:1"),
    ("port", 0),
    ("port", 70000),
    ("port", "many"),
    ("port_mode", "both"),
    ("remote", "ext::sh -c touch% /tmp/owned"),
    ("remote", "--upload-pack=touch owned;git-upload-pack"),
    ("remote", "https://user:secret@git.example.test/x"),
    ("remote", "ssh://git@git.example.test/x"),
    ("git_token", "a token\r\nX-Header: of two lines"),
    ("git_host_key", "ssh-ed25519 nothing"),
    ("branch", "--upload-pack=touch owned"),
    ("branch", "a..b"),
    ("commit", "HEAD"),
    ("commit", "abc123"),
    ("submodules", "some"),
    ("poll", "daily"),
    ("build_cmd", "make\0all"),
    ("run_cmd", "x" * 5000),
    ("working_dir", "../.."),
    ("working_dir", "/srv"),
    ("static_dir", "/etc"),
    ("static_dir", "a/../../b"),
    ("env", {"A B": "1"}),
    ("env", {"PORT": "1"}),
    ("env", {"A": ["1"]}),
    ("env", {"LARGE": "x" * (200 << 10)}),
    ("env", {f"LARGE_{n}": "x" * (20 << 10) for n in range(10)}),
    ("secrets", {"A-B": "1"}),
    ("secrets", {"DPLOYR_KEY": "1"}),
    ("health_check", {"kind": "icmp"}),
    ("health_check", {"interval": "soon"}),
    ("health_check", {"retries": 0}),
    ("health_check", {"path": "ready"}),
    ("resources", {"memory": 1024}),
    ("resources", {"pids": 0}),
    ("resources", {"pids": 1}),
    ("resources", {"cpu": 1e9}),
    ("resources", {"disk": "much"}),
    ("replicas", 0),
    ("replicas", 101),
    ("instance", "nowhere"),
    ("placement", {"labels": {"-": "x"}}),
    ("placement", {"zone": "x"}),
    ("strategy", "blue-green"),
    ("strategy", {"kind": "canary", "weight": 0}),
    ("auto_rollback", "sometimes"),
    ("processes", {"web": "node server.js"}),
    ("process_replicas", {"worker": -1}),
    ("processes", {"Worker": "node worker.js"}),
    ("volumes", [{"name": "data", "mount": "/etc"}]),
    ("cron", {"nightly": {"schedule": "61 * * * *", "command": "./tidy"}}),
    ("description", "\x07"),
    ("labels", {"-": "x"}),
)


def test_the_table_of_bad_values_has_one_of_every_field(platform: Platform) -> None:
    document = platform.call("GET", "/v1/openapi.json")
    known = set(document["components"]["schemas"]["DeploymentCreate"]["properties"])
    assert known - {field for field, _ in BAD} == {
        "env_vars"
    }  # another form of env: its faults are told as those of env


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_field_is_a_400_that_names_it(platform: Platform, field: str, value: object) -> None:
    with pytest.raises(Refused) as refused:
        platform.call("POST", "/v1/deployments", {**GOOD, field: value})
    assert refused.value.status == 400
    assert refused.value.error["code"] == "invalid_request"
    assert refused.value.error["details"]["field"].split(".")[0] == field
    assert refused.value.error["details"]["issue"]
    assert all(found["name"] != GOOD["name"] for found in platform.call("GET", "/v1/deployments?limit=200")["data"])


@pytest.mark.parametrize("domain", ["a;b.test", "a{b.test", "a\nb.test", "a b.test", "", "-.test", "$hostname"])
def test_a_hostile_domain_is_a_400(platform: Platform, repository, domain: str) -> None:
    with pytest.raises(Refused) as refused:
        platform.call("POST", "/v1/proxy/routes", {"domain": domain, "service_id": "x", "port": 3000})
    assert refused.value.status == 400
    assert refused.value.error["details"]["field"] == "domain"


def test_a_body_over_one_mebibyte_is_a_413(platform: Platform) -> None:
    with pytest.raises(Refused) as refused:
        platform.call("POST", "/v1/deployments", {**GOOD, "description": "x" * (2 << 20)})
    assert refused.value.status == 413
    assert refused.value.error["code"] == "payload_too_large"
    assert refused.value.headers["X-RateLimit-Limit"]


def test_what_is_not_json_is_a_400(platform: Platform) -> None:
    with pytest.raises(Refused) as refused:
        platform.call("POST", "/v1/deployments", b"{nonsense")
    assert refused.value.status == 400


def test_a_repository_that_does_not_exist_fails_the_release_with_a_sentence(
    platform: Platform, tmp_path: pathlib.Path
) -> None:
    platform.deploy("nowhere", tmp_path / "missing", runtime="nodejs", run_cmd="node server.js")
    failed = platform.settled("nowhere", 1)
    assert failed["status"] == "failed"
    assert "repository" in failed["status_reason"]


def test_a_branch_that_does_not_exist_fails_the_release_with_its_name(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    platform.deploy("branchless", repository, branch="nope", runtime="nodejs", run_cmd="node server.js")
    failed = platform.settled("branchless", 1)
    assert failed["status"] == "failed"
    assert "nope" in failed["status_reason"]


BAD_STARTS = {
    "no-program": ({"run_cmd": "no-such-program"}, "no-such-program: not found"),
    "no-file": ({"run_cmd": "exec ./gone.js"}, "./gone.js: not found"),
    "no-executable": ({"run_cmd": "./server.js"}, "./server.js: Permission denied"),
    "no-directory": ({"working_dir": "gone"}, "working_dir 'gone'"),
    "no-memory": ({"resources": {"memory": "4M"}}, "more than 4 MiB of memory"),
}


def test_what_cannot_start_fails_with_a_reason_and_no_process_is_left(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    supervisor = platform.processes_of("node_agent.supervisor")
    for name, (fields, _) in BAD_STARTS.items():
        platform.deploy(name, repository, **{"runtime": "nodejs", "run_cmd": "node server.js", **fields})
    for name, (_, reason) in BAD_STARTS.items():
        failed = platform.settled(name, 1)
        assert failed["status"] == "failed"
        assert reason in failed["status_reason"]
        wait_until(lambda name=name: platform.pids(name) == [], 20, f"the end of {name}")
    assert platform.processes_of("node_agent.supervisor") == supervisor


def test_an_app_that_crashes_again_and_again_after_it_was_live_says_so_and_why(platform: Platform, repository) -> None:
    repository.commit(main__py=FRAGILE)
    _, domain = platform.live("fragile", repository, runtime="python", run_cmd="python main.py")
    platform.get(domain, "/down")

    def looping() -> dict | None:
        found = platform.call("GET", "/v1/services/fragile")
        return found if found["status"] == "crash_looping" else None

    found = wait_until(looping, 40, "the crash loop")
    (process,) = found["processes"]
    assert process["state"] == "crash_looping"
    assert process["restarts"] >= 4
    assert "the database is not there" in str(process["crash"])
