"""Pushes as git hosts send them: bodies with their fields and forms, and their headers, signed by the test's secret."""

import base64
import dataclasses
import hashlib
import hmac
import json
import urllib.parse
from typing import Any

BEFORE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
AFTER = "9fceb02d0ae598e95dc970b74767f19372d61af8"
GONE = "0" * 40


def github(ref: str = "refs/heads/main", after: str = AFTER, **changes: Any) -> dict[str, Any]:
    return {
        "ref": ref,
        "before": BEFORE,
        "after": after,
        "repository": {
            "id": 186853002,
            "node_id": "MDEwOlJlcG9zaXRvcnkxODY4NTMwMDI=",
            "name": "repo",
            "full_name": "user/repo",
            "private": False,
            "owner": {"name": "user", "email": "21031067+user@users.noreply.example", "login": "user", "id": 21031067},
            "html_url": "https://git.example.com/user/repo",
            "clone_url": "https://git.example.com/user/repo.git",
            "default_branch": "main",
            "created_at": 1557933565,
            "pushed_at": 1557933657,
        },
        "pusher": {"name": "user", "email": "21031067+user@users.noreply.example"},
        "sender": {"login": "user", "id": 21031067, "type": "User", "site_admin": False},
        "created": False,
        "deleted": after == GONE,
        "forced": False,
        "base_ref": None,
        "compare": f"https://git.example.com/user/repo/compare/{BEFORE[:12]}...{after[:12]}",
        "commits": [] if after == GONE else [a_commit(after)],
        "head_commit": None if after == GONE else a_commit(after),
        **changes,
    }


def gitlab(ref: str = "refs/heads/main", after: str = AFTER, **changes: Any) -> dict[str, Any]:
    return {
        "object_kind": "push",
        "event_name": "push",
        "before": BEFORE,
        "after": after,
        "ref": ref,
        "ref_protected": True,
        "checkout_sha": None if after == GONE else after,
        "message": None,
        "user_id": 4,
        "user_name": "Ada",
        "user_username": "ada",
        "user_email": "",
        "project_id": 15,
        "project": {
            "id": 15,
            "name": "Repo",
            "git_http_url": "https://git.example.com/user/repo.git",
            "path_with_namespace": "user/repo",
            "default_branch": "main",
            "visibility_level": 0,
        },
        "commits": [] if after == GONE else [a_commit(after)],
        "total_commits_count": 1,
        "push_options": {},
        **changes,
    }


def gitea(ref: str = "refs/heads/main", after: str = AFTER, **changes: Any) -> dict[str, Any]:
    return {
        "ref": ref,
        "before": BEFORE,
        "after": after,
        "compare_url": "https://git.example.com/user/repo/compare/main...main",
        "commits": [] if after == GONE else [a_commit(after)],
        "total_commits": 1,
        "head_commit": None if after == GONE else a_commit(after),
        "repository": {
            "id": 140,
            "full_name": "user/repo",
            "clone_url": "https://git.example.com/user/repo.git",
            "default_branch": "main",
        },
        "pusher": {"id": 1, "login": "user", "email": "user@example.com", "username": "user"},
        "sender": {"id": 1, "login": "user", "email": "user@example.com", "username": "user"},
        **changes,
    }


def a_commit(commit: str) -> dict[str, Any]:
    person = {"name": "Ada", "email": "ada@example.com", "username": "ada"}
    return {
        "id": commit,
        "message": "Answer faster\n\nMuch faster.\n",
        "timestamp": "2026-11-24T09:30:00+01:00",
        "url": f"https://git.example.com/user/repo/commit/{commit}",
        "author": person,
        "committer": person,
        "added": [],
        "removed": [],
        "modified": ["server.js"],
    }


@dataclasses.dataclass
class Sent:
    """A request of a git host."""

    body: bytes
    headers: dict[str, str]


def from_github(
    secret: str, payload: Any = None, event: str = "push", delivery: str = "72d3162e-cc78-11e3", form=False
) -> Sent:
    body = json.dumps(github() if payload is None else payload).encode()
    if form:
        body = urllib.parse.urlencode({"payload": body.decode()}).encode()
    return Sent(
        body,
        {
            "Content-Type": "application/x-www-form-urlencoded" if form else "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery,
            "X-GitHub-Hook-ID": "292430182",
            "X-Hub-Signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
            "X-Hub-Signature-256": "sha256=" + signature(secret, body),
        },
    )


def from_gitlab(
    secret: str, payload: Any = None, event: str = "Push Hook", delivery: str = "13792a34-cac6-4fda"
) -> Sent:
    return Sent(
        json.dumps(gitlab() if payload is None else payload).encode(),
        {
            "Content-Type": "application/json",
            "User-Agent": "GitLab/17.5.0-pre",
            "X-Gitlab-Event": event,
            "X-Gitlab-Event-UUID": delivery,
            "X-Gitlab-Webhook-UUID": "02affd2d-2cba-4033-917d-ec22d5dc4b38",
            "X-Gitlab-Token": secret,
        },
    )


def from_gitlab_signed(secret: str, now: float, payload: Any = None, delivery: str = "msg-1") -> Sent:
    sent = from_gitlab(secret, payload, delivery=delivery)
    del sent.headers["X-Gitlab-Token"]
    stamp = str(int(now))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{delivery}.{stamp}.".encode() + sent.body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    sent.headers |= {"webhook-id": delivery, "webhook-timestamp": stamp, "webhook-signature": f"v1,{digest}"}
    return sent


def from_gitea(secret: str, payload: Any = None, event: str = "push", delivery: str = "f6266f16-1bf3") -> Sent:
    body = json.dumps(gitea() if payload is None else payload).encode()
    return Sent(
        body,
        {
            "Content-Type": "application/json",
            "X-GitHub-Delivery": delivery,
            "X-GitHub-Event": event,
            "X-Gitea-Delivery": delivery,
            "X-Gitea-Event": event,
            "X-Gitea-Event-Type": event,
            "X-Gitea-Signature": signature(secret, body),
            "X-Gogs-Event": event,
            "X-Hub-Signature": "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest(),
            "X-Hub-Signature-256": "sha256=" + signature(secret, body),
        },
    )


def signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


HOSTS = {"github": from_github, "gitlab": from_gitlab, "gitea": from_gitea}
PAYLOADS = {"github": github, "gitlab": gitlab, "gitea": gitea}
