"""Push-to-deploy over real HTTP: the address, the signatures, and what a push makes."""

import json

import pytest

from control_plane.domain import values
from tests import api_fixtures, builders, pushes

HOOK = "/v1/deployments/my-app/hook"


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(requests_per_hour=1_000_000, anonymous_per_hour=1_000_000) as pair:
        yield pair


@pytest.fixture
def plane(running):
    return running[0]


class Hook:
    """A deployment with a hook, and a git host that calls it."""

    def __init__(self, client):
        self.client = client
        self.anonymous = api_fixtures.Client(client.port)
        made = client.post(HOOK)
        assert made.status == 201, made.text
        self.url, self.secret = made.json["url"], made.json["secret"]
        self.path = self.url[self.url.index("/v1/") :]

    def send(self, sent, path=None):
        return self.anonymous.request("POST", path or self.path, sent.body, sent.headers)

    def newest(self):
        number = self.client.get("/v1/deployments/my-app").json["release"]
        return self.client.get(f"/v1/deployments/my-app/releases/{number}").json


@pytest.fixture
def hook(running):
    _, client = running
    assert client.post("/v1/deployments", api_fixtures.NODE_APP).status in {201, 409}
    client.put("/v1/deployments/my-app", {"commit": ""})
    return Hook(client)


def a_commit(number):
    return f"{number:040x}"


@pytest.mark.parametrize("host", pushes.HOSTS)
def test_a_push_makes_a_release_of_that_commit(hook, host):
    commit = a_commit(0xA0 + list(pushes.HOSTS).index(host))
    before = hook.newest()["number"]
    sent = pushes.HOSTS[host](hook.secret, pushes.PAYLOADS[host](after=commit), delivery=f"make-{host}")
    answer = hook.send(sent)
    assert (answer.status, answer.json["status"]) == (202, "accepted")
    made = hook.newest()
    assert (made["number"], made["commit"]) == (before + 1, commit)
    assert answer.json["release"] == made["number"]


def test_a_dry_run_makes_no_hook_and_leaves_the_one_that_there_is(hook):
    planned = hook.client.post(f"{HOOK}?dry_run=true").json
    assert (planned["changes"][0]["action"], planned["status"]) == ("hook.created", 201)
    sent = pushes.from_github(hook.secret, pushes.github(after=a_commit(0xB9)), delivery="dry")
    assert hook.send(sent, path=planned["result"]["url"][planned["result"]["url"].index("/v1/") :]).status == 404
    assert hook.send(sent).status == 202


def test_the_release_is_pinned_and_the_deployment_follows_its_branch(plane, hook):
    hook.send(pushes.from_github(hook.secret, pushes.github(after=a_commit(0xB0)), delivery="pin"))

    async def stored():
        async with plane.store.read() as tx:
            found = await tx.find_deployment("my-app")
            return found, await tx.get_release(found.id, found.release)

    deployment, release = plane.loop.run(stored())
    assert (release.commit, release.config.commit, release.cause) == (a_commit(0xB0), "", "hook")
    assert deployment.config.commit == ""


@pytest.mark.parametrize("host", pushes.HOSTS)
def test_the_same_delivery_makes_one_release(hook, host):
    sent = pushes.HOSTS[host](hook.secret, pushes.PAYLOADS[host](after=a_commit(0xC0)), delivery=f"twice-{host}")
    first = hook.send(sent)
    number = hook.newest()["number"]
    second = hook.send(sent)
    assert (second.status, second.body) == (202, first.body)
    assert hook.newest()["number"] == number


@pytest.mark.parametrize("asked", ["Idempotency-Key", "If-Match", "dry_run"])
def test_what_a_push_cannot_be_asked_for_is_refused_and_deploys_nothing(hook, asked):
    sent = pushes.from_github(hook.secret, pushes.github(after=a_commit(0xC1)), delivery=f"asked-{asked}")
    number = hook.newest()["number"]
    header = {} if asked == "dry_run" else {asked: '"1"'}
    path = f"{hook.path}?dry_run=true" if asked == "dry_run" else hook.path
    answer = hook.send(pushes.Sent(sent.body, {**sent.headers, **header}), path)
    assert answer.status == 400
    assert answer.json["error"]["details"]["field"] == asked
    assert hook.newest()["number"] == number


def test_another_delivery_of_the_same_commit_is_ignored(hook):
    for delivery, status in (("same-1", "accepted"), ("same-2", "ignored")):
        answer = hook.send(pushes.from_github(hook.secret, pushes.github(after=a_commit(0xD0)), delivery=delivery))
        assert answer.json["status"] == status


@pytest.mark.parametrize("host", pushes.HOSTS)
def test_a_bad_signature_is_a_401_also_for_a_delivery_that_was_answered(hook, host):
    payload = pushes.PAYLOADS[host](after=a_commit(0xE0))
    good = pushes.HOSTS[host](hook.secret, payload, delivery=f"bad-{host}")
    assert hook.send(good).status == 202
    number = hook.newest()["number"]
    bad = pushes.HOSTS[host]("wrong", payload, delivery=f"bad-{host}")
    assert hook.send(bad).status == 401
    bare = pushes.Sent(good.body, {"Content-Type": "application/json"})
    assert hook.send(bare).status == 401
    assert hook.newest()["number"] == number


def test_a_ping_and_another_branch_are_ignored_in_words(hook):
    number = hook.newest()["number"]
    calls = [
        pushes.from_github(hook.secret, {"zen": "Keep it logically awesome.", "hook_id": 1}, "ping", "p-1"),
        pushes.from_github(hook.secret, pushes.github("refs/heads/dev"), delivery="p-2"),
        pushes.from_github(hook.secret, pushes.github("refs/tags/v1"), delivery="p-3"),
        pushes.from_gitlab(hook.secret, pushes.gitlab(after=pushes.GONE), delivery="p-4"),
        pushes.from_gitlab(hook.secret, pushes.gitlab("refs/tags/v1"), "Tag Push Hook", delivery="p-5"),
        pushes.from_gitea(hook.secret, {}, "create", delivery="p-6"),
    ]
    for sent in calls:
        answer = hook.send(sent)
        assert (answer.status, answer.json["status"], answer.json["release"]) == (202, "ignored", None)
        assert answer.json["reason"]
    assert hook.newest()["number"] == number


def test_a_form_is_read_like_json(hook):
    sent = pushes.from_github(hook.secret, pushes.github(after=a_commit(0xF0)), delivery="form", form=True)
    assert hook.send(sent).json["status"] == "accepted"
    for body in (b"", b"payload=", b"payload=%7B%7D&payload=%7B%7D", b"other=1"):
        headers = {**sent.headers, "X-Hub-Signature-256": "sha256=" + pushes.signature(hook.secret, body)}
        assert hook.send(pushes.Sent(body, {**headers, "X-GitHub-Delivery": "f2"})).status == 400


def test_a_body_of_another_type_or_no_json_is_refused(hook):
    def signed(body, kind):
        sent = pushes.from_github(hook.secret)
        proof = {"X-Hub-Signature-256": "sha256=" + pushes.signature(hook.secret, body)}
        return pushes.Sent(body, {**sent.headers, **proof, "Content-Type": kind, "X-GitHub-Delivery": "odd"})

    assert hook.send(signed(b"<xml/>", "application/xml")).status == 415
    for body in (b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"NaN"):
        assert hook.send(signed(body, "application/json")).status == 400
    assert hook.send(signed(b" " * (1 << 20) + b"{}", "application/json")).status == 413


def test_a_wrong_address_is_a_404_that_tells_nothing(hook, running):
    _, client = running
    other = {**api_fixtures.NODE_APP, "name": "no-hook"}
    assert client.post("/v1/deployments", other).status in {201, 409}
    bare = client.get("/v1/deployments/no-hook").json["id"]
    mine = client.get("/v1/deployments/my-app").json["id"]
    sent = pushes.from_github(hook.secret)
    paths = [f"/v1/hooks/{mine}/{'0' * 64}", f"/v1/hooks/{bare}/{'0' * 64}", f"/v1/hooks/dep_none/{'0' * 64}",
             f"/v1/hooks/my-app/{hook.path.rpartition('/')[2]}", f"/v1/hooks/{bare}/{hook.path.rpartition('/')[2]}"]  # fmt: skip
    answers = [hook.send(sent, path) for path in paths]
    assert {answer.status for answer in answers} == {404}
    assert len({json.dumps(answer.json["error"]) for answer in answers}) == 1


def test_a_new_hook_ends_the_former_one_and_deletion_ends_it(hook, running):
    _, client = running
    former_path, former_secret = hook.path, hook.secret
    new = Hook(client)
    assert hook.send(pushes.from_github(former_secret), former_path).status == 404
    assert new.send(pushes.from_github(former_secret)).status == 401
    assert client.delete(HOOK).status == 204
    assert client.delete(HOOK).status == 404
    assert new.send(pushes.from_github(new.secret)).status == 404
    assert client.get(HOOK).json == {"exists": False, "url": ""}


def test_what_is_shown_afterwards_opens_nothing(hook, running):
    _, client = running
    shown = client.get(HOOK)
    assert shown.json == {"exists": True, "url": hook.url.rpartition("/")[0]}
    told = client.get("/v1/deployments/my-app").text
    assert hook.secret not in told + shown.text
    assert hook.url.rpartition("/")[2] not in told + shown.text


def test_a_pinned_deployment_is_not_moved_by_a_push(hook, running):
    _, client = running
    assert client.put("/v1/deployments/my-app", {"commit": "abcdef1"}).status == 200
    answer = hook.send(pushes.from_github(hook.secret, delivery="pinned"))
    assert answer.json["status"] == "ignored"
    assert "pinned" in answer.json["reason"]


def test_a_viewer_sees_the_hook_and_cannot_make_one(plane, hook):
    with pytest.raises(Exception, match="deployment:write"):
        project = plane.loop.run(_project(plane))
        viewer = values.Principal("usr_v", "v@example.com", roles={project: "viewer"})
        assert plane.loop.run(plane.services.hooks.get(viewer, "my-app")).exists
        plane.loop.run(plane.services.hooks.create(viewer, "my-app"))
    with pytest.raises(Exception, match="cannot find deployment"):
        plane.loop.run(plane.services.hooks.get(builders.NOBODY, "my-app"))


async def _project(plane):
    async with plane.store.read() as tx:
        return (await tx.find_deployment("my-app")).project_id


def test_the_token_is_not_in_the_log(hook, capfd):
    """Whatever becomes of the request: the address itself is the secret."""
    token = hook.path.rpartition("/")[2]
    hook.send(pushes.from_github(hook.secret, delivery="log"))
    for path in (hook.path + "/", hook.path + "/more", hook.path.replace("/v1/hooks", "//v1/hooks"), "/" + hook.path):
        hook.anonymous.request("POST", path, b"{}", {"Content-Type": "application/json"})
    hook.anonymous.request("GET", hook.path)
    out, err = capfd.readouterr()
    assert "/v1/hooks/" in out
    assert token not in out + err
