"""Bad input: a 400 in the envelope with field and issue, or a failed release with one clear sentence; nothing half-made."""

import pathlib

import pytest

from tests.e2e.conftest import node_app
from tests.e2e.platform import Platform, Refused

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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("runtime", "cobol"),
        ("version", "3000"),
        ("colour", "blue"),
        ("name", "Not A Name"),
        ("name", "x; touch /tmp/owned"),
        ("port", 0),
        ("port", 70000),
        ("port", "many"),
        ("remote", "ext::sh -c touch% /tmp/owned"),
        ("remote", "--upload-pack=touch owned;git-upload-pack"),
        ("remote", "https://user:secret@git.example.test/x"),
        ("remote", "ssh://git@git.example.test/x"),
        ("branch", "--upload-pack=touch owned"),
        ("branch", "a..b"),
        ("working_dir", "../.."),
        ("static_dir", "/etc"),
        ("env", {"A B": "1"}),
        ("env", {"PORT": "1"}),
    ],
)
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
