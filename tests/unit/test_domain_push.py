"""Pushes of git hosts: who is believed, and what is asked for."""

import dataclasses

import pytest

from control_plane.domain import push
from tests import pushes

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTMyYg=="
NOW = 1_795_500_000.0


def call_of(sent):
    return push.Call({name.lower(): text for name, text in sent.headers.items()}, sent.body)


def changed(call, **headers):
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    kept = {name: text for name, text in {**call.headers, **given}.items() if text is not None}
    return dataclasses.replace(call, headers=kept)


def is_authentic(call, secret=SECRET, now=NOW):
    return push.is_authentic(call, secret, now)


@pytest.mark.parametrize("host", pushes.HOSTS)
def test_a_host_that_knows_the_secret_is_believed(host):
    assert is_authentic(call_of(pushes.HOSTS[host](SECRET)))
    assert not is_authentic(call_of(pushes.HOSTS[host]("another")))


@pytest.mark.parametrize("host", pushes.HOSTS)
def test_nobody_is_believed_without_any_proof(host):
    call = call_of(pushes.HOSTS[host](SECRET))
    proofs = (*push.SIGNATURES, "x-gitlab-token")
    bare = dataclasses.replace(call, headers={k: v for k, v in call.headers.items() if k not in proofs})
    assert not is_authentic(bare)


@pytest.mark.parametrize("host", ["github", "gitea"])
def test_one_changed_byte_of_the_body_breaks_the_signature(host):
    call = call_of(pushes.HOSTS[host](SECRET))
    assert not is_authentic(dataclasses.replace(call, body=call.body[:-1] + b" "))


@pytest.mark.parametrize(
    "given",
    ["", "sha256=", "sha256=00", "sha1=" + "0" * 40, "é", "0" * 64, "sha256=sha256=" + "0" * 64, "sha256=" + "0" * 64],
)
def test_a_strange_signature_is_no_signature(given):
    assert not is_authentic(changed(call_of(pushes.from_github(SECRET)), x_hub_signature_256=given))


def test_the_old_signature_with_sha1_proves_nothing():
    assert not is_authentic(changed(call_of(pushes.from_github(SECRET)), x_hub_signature_256=None))


def test_a_right_proof_does_not_cover_for_a_wrong_one():
    call = call_of(pushes.from_gitlab(SECRET))
    assert not is_authentic(changed(call, x_hub_signature_256="sha256=" + "0" * 64))
    assert not is_authentic(changed(call_of(pushes.from_gitea(SECRET)), x_gitea_signature="0" * 64))


def test_the_signature_of_standard_webhooks_is_taken_while_it_is_fresh():
    call = call_of(pushes.from_gitlab_signed(SECRET, NOW))
    assert is_authentic(call)
    assert is_authentic(call, now=NOW + 299)
    assert not is_authentic(call, now=NOW + 301)
    assert not is_authentic(changed(call, webhook_timestamp="x"))
    assert not is_authentic(changed(call, webhook_id="other"))
    assert not is_authentic(call, secret="whsec_not base64")


@pytest.mark.parametrize("host", pushes.HOSTS)
def test_a_push_to_the_branch_asks_for_its_commit(host):
    call = call_of(pushes.HOSTS[host](SECRET))
    assert push.wish(call, pushes.PAYLOADS[host](), "main") == push.Wish(commit=pushes.AFTER)


@pytest.mark.parametrize("host", pushes.HOSTS)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ref": "refs/heads/other"}, "another branch"),
        ({"ref": "refs/heads/main/x"}, "another branch"),
        ({"ref": "refs/tags/main"}, "not a branch"),
        ({"ref": "main"}, "not a branch"),
        ({"after": pushes.GONE}, "deleted"),
        ({"after": "main; rm -rf /"}, "no whole commit"),
        ({"after": "abcdef1"}, "no whole commit"),
        ({"ref": None}, "no ref"),
        ({"after": 7}, "no ref and no commit"),
    ],
)
def test_everything_else_deploys_nothing_and_says_why(host, changes, reason):
    payload = {**pushes.PAYLOADS[host](), **changes}
    found = push.wish(call_of(pushes.HOSTS[host](SECRET)), payload, "main")
    assert found.commit == ""
    assert reason in found.reason


@pytest.mark.parametrize("event", ["ping", "pull_request", "Tag Push Hook", "Merge Request Hook", "release", ""])
def test_another_event_deploys_nothing(event):
    call = changed(call_of(pushes.from_github(SECRET)), x_github_event=event)
    assert push.wish(call, pushes.github(), "main").reason


def test_a_delivery_is_known_by_its_id_or_by_its_body():
    call = call_of(pushes.from_github(SECRET, delivery="d-1"))
    assert call.delivery == "d-1"
    bare = changed(call, x_github_delivery=None)
    assert bare.delivery == changed(call, x_github_delivery="").delivery
    assert len(bare.delivery) == 64
    assert changed(call, x_github_delivery="x" * 5000).delivery == bare.delivery
