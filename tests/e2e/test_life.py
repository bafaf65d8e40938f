"""The life of a deployment as a user leads it through the API: back, off, uploaded, looked into, routed with options, pushed."""

import base64
import contextlib
import hashlib
import hmac
import http.client
import io
import json
import os
import pathlib
import tarfile
import urllib.request

import pytest

from tests.e2e.conftest import node_app
from tests.e2e.platform import Platform, Refused
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(100)

APP = """
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{open('words').read().strip()} {os.environ['DPLOYR_RELEASE']} {os.environ.get('MOOD', '')}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
PYTHON = {"runtime": "python", "build_cmd": "date +%s%N > built", "run_cmd": "python app.py"}


def build_log(platform: Platform, name: str, release: int) -> str:
    lines = platform.call("GET", f"/v1/deployments/{name}/releases/{release}/logs?tail=500")["data"]
    return "\n".join(line["line"] for line in lines)


def released(platform: Platform, name: str, release: int) -> dict:
    return platform.call("GET", f"/v1/deployments/{name}/releases/{release}")


def test_a_rollback_and_a_changed_variable_use_the_build_that_is_there(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="one")
    found, domain = platform.live("back", repository, env={"MOOD": "calm"}, **PYTHON)
    repository.commit(words="two")
    platform.call("POST", "/v1/deployments/back/redeploy")
    assert platform.settled("back", 2)["status"] == "running"
    platform.says(domain, "two 2 calm".__eq__)

    platform.call("POST", "/v1/services/back/env", {"key": "MOOD", "value": "merry"})
    assert platform.settled("back", 3)["status"] == "running"
    platform.says(domain, "two 3 merry".__eq__)
    assert "is used again" in build_log(platform, "back", 3)
    releases = platform.data / "agent" / "services" / found["service_id"] / "releases"
    files = [(releases / number / "tree" / "app.py").stat().st_ino for number in ("2", "3")]
    assert (files[0] == files[1]) == (
        os.geteuid() == 0
    )  # where an app has a user of its own, it cannot write into them

    platform.call("POST", "/v1/deployments/back/rollback", {"release": 1})
    assert platform.settled("back", 4)["status"] == "running"
    platform.says(domain, "one 4 calm".__eq__)
    assert (released(platform, "back", 4)["cause"], released(platform, "back", 4)["build_of"]) == ("rollback", 1)
    fields = {one["field"] for one in platform.call("GET", "/v1/deployments/back/releases/3/diff/4")["changes"]}
    assert "env.MOOD" in fields


def test_a_cancelled_build_ends_and_the_live_release_never_notices(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="kept")
    _, domain = platform.live("off", repository, **PYTHON)
    before = platform.pids("off")
    platform.call("PUT", "/v1/deployments/off", {"build_cmd": "echo begun; sleep 600"})
    wait_until(lambda: "begun" in build_log(platform, "off", 2), 60, "the build")
    assert platform.call("POST", "/v1/deployments/off/cancel")["status"] == "cancelled"
    wait_until(lambda: "cancelled" in build_log(platform, "off", 2), 30, "the end of the build")
    assert platform.pids("off") == before
    assert platform.get(domain)[1] == "kept 1 "
    with pytest.raises(Refused) as caught:
        platform.call("POST", "/v1/deployments/off/rollback", {"release": 2})
    assert caught.value.status == 409


def archive(**files: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return packed.getvalue()


def test_an_uploaded_source_is_built_and_the_next_upload_replaces_it(platform: Platform) -> None:
    fields = {"name": "sent", "source": "local", "port": 3000, **PYTHON}
    made = platform.call("POST", "/v1/deployments", fields)
    assert made["status"] == "pending"
    assert "upload it" in made["status_reason"]
    domain = platform.route("sent", made["service_id"])
    for release, words in ((1, "first"), (2, "second")):
        body = archive(app__py=APP, words=words)
        platform.call("POST", "/v1/deployments/sent/source", body, {"Content-Type": "application/gzip"})
        found = platform.settled("sent", release)
        assert (found["status"], found["commit"]) == ("running", hashlib.sha256(body).hexdigest()), found
        platform.says(domain, lambda body, words=words: body.startswith(words))


def test_a_command_runs_once_in_the_environment_of_the_live_release(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="inside")
    found, _ = platform.live("asked", repository, secrets={"KEY": "known"}, **PYTHON)
    body = json.dumps({"command": "cat words; echo; echo $KEY; echo $DPLOYR_RELEASE >&2; exit 3"}).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{platform.api}/v1/services/{found['service_id']}/run",
        data=body,
        headers={"Authorization": f"Bearer {platform.token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        said = [json.loads(line) for line in response if line.strip()]
    texts = {
        stream: "".join(one["data"] for one in said if one.get("stream") == stream) for stream in ("stdout", "stderr")
    }
    assert texts == {"stdout": "inside\nknown\n", "stderr": "1\n"}
    assert said[-1]["exit"] == {"outcome": "exited", "code": 3}


def ask(platform: Platform, domain: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", platform.proxy, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": domain, "Connection": "close", **headers})
        response = connection.getresponse()
        response.read()
        return response


def test_options_of_a_route_are_what_the_proxy_does(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="routed")
    _, domain = platform.live("routed", repository, **PYTHON)
    (route,) = platform.call("GET", f"/v1/proxy/routes?domain={domain}")["data"]
    allowed = {"Authorization": "Basic " + base64.b64encode(b"ada:correct horse").decode()}

    def change(**options: object) -> None:
        platform.call("PATCH", f"/v1/proxy/routes/{route['id']}", options)
        wait_until(lambda: platform.in_force(domain), 20, f"{options} in force")

    def answers(status: int, name: str = "", value: str | None = None, **headers: str) -> None:
        """The whole answer at once: a worker that nginx is ending may still give a former one."""

        def look() -> bool:
            answer = ask(platform, domain, **headers)
            return (answer.status, answer.getheader(name)) == (status, value)

        wait_until(look, 20, f"{status} {name} {value}")

    change(headers={"X-Frame-Options": "DENY"}, basic_auth={"ada": "correct horse"})
    answers(401)
    answers(200, "X-Frame-Options", "DENY", **allowed)
    change(basic_auth={}, maintenance=True)
    answers(503)
    change(maintenance=False, redirect_to="https://www.example.com/new")
    answers(308, "Location", "https://www.example.com/new")


def test_a_signed_push_is_deployed_and_one_with_a_bad_signature_is_not(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="pushed")
    _, domain = platform.live("pushed", repository, **PYTHON)
    hook = platform.call("POST", "/v1/deployments/pushed/hook")
    commit = repository.commit(words="again")
    body = json.dumps({"ref": "refs/heads/main", "after": commit, "repository": {"name": "app"}}).encode()
    target = hook["url"].partition("/v1/")[2]

    def push(signature: str) -> None:
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": "1",
            "X-Hub-Signature-256": f"sha256={signature}",
        }
        return platform.call("POST", f"/v1/{target}", body, headers)

    with pytest.raises(Refused) as caught:
        push("0" * 64)
    assert caught.value.status == 401
    signature = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
    assert push(signature)["status"] == "accepted"
    found = platform.settled("pushed", 2)
    assert (found["status"], found["commit"]) == ("running", commit)
    platform.says(domain, "again 2 ".__eq__)
    assert push(signature)["release"] == 2
    assert platform.call("GET", "/v1/deployments/pushed")["release"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives apps users of their own")
def test_every_app_has_a_user_of_its_own_and_says_so(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    uids = set()
    for name in ("own-user", "another-user"):
        platform.live(name, repository, runtime="nodejs", version="20", run_cmd="node server.js")
        (pid,) = platform.pids(name)
        uids.add(pathlib.Path(f"/proc/{pid}").stat().st_uid)
    assert len(uids) == 2
    assert min(uids) >= 200000
    (instance,) = platform.call("GET", "/v1/instances")["data"]
    assert instance["capabilities"]["isolation"].startswith("users: ")
    service = platform.data / "agent" / "services" / platform.call("GET", "/v1/deployments/own-user")["service_id"]
    assert service.exists()
    platform.call("DELETE", "/v1/deployments/own-user")
    wait_until(lambda: not service.exists(), 30, "the end of all files of the service")
