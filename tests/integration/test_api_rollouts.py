"""Releases, uploads, one-off runs, patches and instances over a real server and the store in memory."""

import contextlib
import datetime
import io
import json
import tarfile

import pytest

from control_plane.domain import values
from dployr.client import Client as PythonClient
from tests import api_fixtures, builders
from tests.waiting import wait_until

MANY = {"requests_per_hour": 100_000, "anonymous_per_hour": 100_000}
APP = api_fixtures.NODE_APP
ABLE = {
    "os": "Debian",
    "memory_bytes": 1 << 30,
    "capabilities": {
        "replicas": "3",
        "limits": "memory",
        "strategies": "rolling,recreate,canary",
        "sources": "remote,local",
        "health_checks": "http,tcp,command",
        "processes": "any",
        "process_replicas": "5",
        "volumes": "any",
    },
    "runtimes": {"go": "1.22.3"},
}
OPERATIONS = ("redeploy", "rollback", "cancel")


@pytest.fixture
def running():
    with api_fixtures.control_plane(**MANY) as pair:
        pair[0].connect(**ABLE)
        yield pair


@pytest.fixture
def plane(running):
    return running[0]


@pytest.fixture
def client(running):
    return running[1]


@pytest.fixture
def app(client):
    answer = client.post("/v1/deployments", APP)
    assert answer.status == 201
    return answer.json


def patch(client, path, body, **headers):
    return client.request("PATCH", path, body, {name.replace("_", "-"): text for name, text in headers.items()})


def an_archive() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("main.js"), io.BytesIO())
    return made.getvalue()


EVERYTHING = {
    **APP,
    "git_token": "ghp_hush",
    "secrets": {"KEY": "hush", "NUMBER": 7},
    "env": {"A": 1},
    "replicas": 2,
    "resources": {"memory": "512M", "cpu": 0.5},
    "strategy": {"kind": "canary", "weight": 5, "steps": [25], "interval": "30s"},
    "processes": {"worker": "node worker.js"},
    "volumes": [{"name": "data", "mount": "data"}],
    "labels": {"team": "web"},
    "placement": {"labels": {}},
    "instance": "host-1",
    "health_check": {"kind": "command", "command": "true", "interval": "5s"},
    "description": "the shop",
    "poll": False,
}


def test_every_field_is_taken_kept_and_shown_but_no_secret(client):
    made = client.post("/v1/deployments", EVERYTHING)
    assert made.status == 201
    shown = client.get("/v1/deployments/my-app").json
    assert shown == made.json
    assert shown["resources"] == {"memory": 512 << 20, "cpu": 0.5, "pids": None, "disk": None, "strict": False}
    assert shown["strategy"] == {"kind": "canary", "weight": 5, "steps": [25], "interval": 30.0}
    assert (shown["secret_keys"], shown["env"], shown["git_token_set"]) == (["KEY", "NUMBER"], {"A": "1"}, True)
    assert (shown["replicas"], shown["processes"], shown["labels"]) == (
        2,
        {"worker": "node worker.js"},
        {"team": "web"},
    )
    assert shown["warnings"] == ["instance host-1 does not enforce cpu"]
    assert (shown["url"], shown["poll"], shown["pending_changes"]) == (None, False, False)
    release = client.get("/v1/deployments/my-app/releases/1")
    assert release.json["config"]["replicas"] == 2
    assert b"hush" not in made.body + release.body


def test_the_blueprint_form_takes_secrets_too(client):
    blueprint = {
        "name": "my-app",
        "runtime": {"type": "golang", "version": "1.22.3"},
        "remote": {"url": "https://github.com/user/repo", "branch": "main", "commit_hash": "abcdef1"},
        "run_cmd": "./app",
        "port": 3000,
        "env_vars": {"A": "1"},
        "secrets": {"KEY": "hush"},
    }
    made = client.post("/v1/deployments", blueprint).json
    assert (made["runtime"], made["secret_keys"], made["commit_pinned"]) == ("go", ["KEY"], True)


def test_faults_of_every_kind_come_together(client):
    bad = {
        **APP,
        "replicas": 9,
        "resources": {"memory": "lots", "pids": 0},
        "strategy": "magic",
        "processes": {"web": "x"},
        "secrets": {"PORT": "1"},
        "labels": {"-": "x"},
        "instance": "nowhere",
        "project": "nothing",
    }
    details = client.post("/v1/deployments", bad).json["error"]["details"]
    assert {problem["field"] for problem in details["errors"]} == {
        "replicas",
        "resources.memory",
        "resources.pids",
        "strategy",
        "processes.web",
        "secrets.PORT",
        "labels.-",
        "instance",
        "project",
    }
    nested = client.post("/v1/deployments", {**APP, "port": None, "placement": {"zone": 1}, "remote": {"urll": "x"}})
    assert {one["field"] for one in nested.json["error"]["details"]["errors"]} == {
        "port",
        "placement.zone",
        "remote.urll",
    }


def test_redeploy_takes_a_commit_an_empty_object_or_no_body(plane, client, app):
    assert client.post("/v1/deployments/my-app/redeploy").json["release"] == 2
    assert client.post("/v1/deployments/my-app/redeploy", {}).json["release"] == 3
    answer = client.post("/v1/deployments/my-app/redeploy", {"commit": "abcdef1"})
    assert (answer.status, answer.json["commit"], answer.json["commit_pinned"]) == (202, "abcdef1", False)
    assert client.post("/v1/deployments/my-app/redeploy", {"commit": "main"}).status == 400
    assert client.post("/v1/deployments/my-app/redeploy", {"branch": "main"}).status == 400
    assert client.request("POST", "/v1/deployments/my-app/redeploy", b"x", {"Content-Type": "text/plain"}).status == 415


def test_rollback_cancel_and_what_differs(plane, client, app):
    assert client.post("/v1/deployments/my-app/rollback").status == 409
    plane.report("my-app")
    client.put("/v1/deployments/my-app", {"version": "22", "env": {"A": "1"}})
    plane.report("my-app", number=2, live=2)
    back = client.post("/v1/deployments/my-app/rollback", {"release": 1})
    assert (back.status, back.json["version"], back.json["release"]) == (202, "20", 3)
    release = client.get("/v1/deployments/my-app/releases/3").json
    assert (release["build_of"], release["cause"], release["commit"]) == (1, "rollback", f"{1:040x}")
    differs = client.get("/v1/deployments/my-app/releases/2/diff/3").json
    assert {"field": "version", "from": "22", "to": "20"} in differs["changes"]
    assert client.get("/v1/deployments/my-app/releases/2/diff/9").status == 404
    cancelled = client.post("/v1/deployments/my-app/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (202, "cancelled")
    assert client.post("/v1/deployments/my-app/cancel").json == cancelled.json
    assert client.post("/v1/deployments/my-app/rollback", {"release": 2}).status == 409
    assert client.post("/v1/deployments/my-app/rollback", {"release": 0}).status == 400


def test_a_release_is_pinned_and_let_go(plane, client, app):
    path = "/v1/deployments/my-app/releases/1"
    assert client.post(f"{path}/pin").status == 409, "it was never live"
    plane.report("my-app")
    assert client.get(path).json["pinned"] is False
    assert (client.post(f"{path}/pin?dry_run=true").status, client.get(path).json["pinned"]) == (200, False)
    assert client.post(f"{path}/pin").json["pinned"] is True
    assert client.get(path).json["pinned"] is True
    assert client.post(f"{path}/unpin").json["pinned"] is False
    assert client.post("/v1/deployments/my-app/releases/9/pin").status == 404
    assert client.request("POST", f"{path}/pin", None, {"If-Match": '"1"'}).status == 412


def test_releases_are_listed_in_pages(client, app):
    for _ in range(2):
        client.post("/v1/deployments/my-app/redeploy")
    page = client.get("/v1/deployments/my-app/releases?limit=2").json
    assert [one["number"] for one in page["data"]] == [3, 2]
    rest = client.get(f"/v1/deployments/my-app/releases?limit=2&cursor={page['next_cursor']}").json
    assert ([one["number"] for one in rest["data"]], rest["next_cursor"]) == ([1], None)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_dry_run_says_what_would_be_and_leaves_all_as_it_was(plane, client, app, operation):
    plane.report("my-app")
    client.put("/v1/deployments/my-app", {"version": "22"})
    plane.report("my-app", number=2, live=2)
    client.post("/v1/deployments/my-app/redeploy")
    before = client.get("/v1/deployments/my-app").json
    answer = client.post(f"/v1/deployments/my-app/{operation}?dry_run=true")
    assert (answer.status, answer.json["status"], len(answer.json["changes"])) == (200, 202, 1)
    assert client.get("/v1/deployments/my-app").json == before


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stale_etag_is_a_412(plane, client, app, operation):
    answer = client.request("POST", f"/v1/deployments/my-app/{operation}", None, {"If-Match": '"9"'})
    assert answer.status == 412
    assert client.get("/v1/deployments/my-app").json == app


def upload(client, data, path="/v1/deployments/my-app/source", **headers):
    sent = {"Content-Type": "application/gzip", **{name.replace("_", "-"): text for name, text in headers.items()}}
    return client.request("POST", path, data, sent)


def test_a_source_is_uploaded_and_the_waiting_release_goes_on(plane, client):
    local = {key: value for key, value in APP.items() if key not in {"remote", "branch"}}
    made = client.post("/v1/deployments", {**local, "source": "local"}).json
    assert made["status_reason"].startswith("waits for its source")
    data = an_archive()
    dry = upload(client, data, "/v1/deployments/my-app/source?dry_run=true")
    assert (dry.status, plane.files.kept) == (200, {})
    answer = upload(client, data, Idempotency_Key="one")
    assert (answer.status, answer.json["release"], answer.json["status_reason"]) == (202, 1, "")
    (archive,) = plane.files.kept
    assert client.get("/v1/deployments/my-app/releases/1").json["archive"] == archive
    again = upload(client, data, Idempotency_Key="one")
    assert (again.headers["idempotency-replayed"], again.json) == ("true", answer.json)
    assert upload(client, data + b"x", Idempotency_Key="one").status == 422
    assert upload(client, data + b"y").json["release"] == 2
    assert len(plane.files.kept) == 2


def test_a_large_source_is_streamed(plane, client):
    client.post("/v1/deployments", {**APP, "source": "local", "remote": ""})
    data = b"\x1f\x8b" + b"x" * (3 << 20)
    assert upload(client, data).status == 202
    assert list(plane.files.kept.values()) == [data]


def test_bad_uploads_leave_nothing(plane, client, app):
    assert upload(client, an_archive()).status == 409
    assert upload(client, an_archive(), "/v1/deployments/nothing/source").status == 404
    client.put("/v1/deployments/my-app", {"source": "local"})
    assert upload(client, b"#!/bin/sh").json["error"]["details"]["field"] == "body"
    assert upload(client, an_archive(), Content_Type="text/plain").status == 415
    assert upload(client, an_archive(), If_Match='"9"').status == 412
    assert upload(api_fixtures.Client(client.port), an_archive()).status == 401
    plane.files.full = True
    assert upload(client, an_archive()).status == 507
    assert plane.files.kept == {}


def test_the_python_client_uploads_and_runs(plane, client):
    with PythonClient(f"http://127.0.0.1:{client.port}", client.token) as http:
        http.deployments.create(**{**APP, "source": "local", "remote": ""})
        assert http.deployments.source("my-app", an_archive())["release"] == 1
        plane.report("my-app")
        plane.runs.connect(plane.instance.id)
        plane.runs.serve(http.services.get("my-app")["id"])
        with http.services.run("my-app", "echo hello; exit 3") as lines:
            assert list(lines) == [
                {"stream": "stdout", "data": "hello\n"},
                {"exit": {"outcome": "exited", "code": 3}},
            ]


@contextlib.contextmanager
def running_command(client, command, **headers):
    sent = {"Content-Type": "application/json", **headers}
    body = json.dumps({"command": command}).encode()
    with contextlib.closing(client.open("POST", "/v1/services/my-app/run", body, sent)) as connection:
        response = connection.getresponse()
        assert response.status == 200
        yield response


@pytest.fixture
def live(plane, client, app):
    plane.report("my-app")
    plane.runs.connect(plane.instance.id)
    plane.runs.serve(app["service_id"])
    return app


def test_a_command_is_streamed_as_it_writes_and_ended_with_its_connection(plane, client, live):
    with running_command(client, "echo one; hang") as response:
        assert response.getheader("Content-Type") == "application/x-ndjson"
        assert json.loads(response.readline()) == {"stream": "stdout", "data": "one\n"}
        assert plane.runs.cancelled == []
    wait_until(lambda: plane.runs.cancelled, what="the command is cancelled")


def test_a_command_as_events_and_as_plain_text(plane, client, live):
    with running_command(client, "echo one", Accept="text/event-stream") as response:
        assert response.read().decode().splitlines()[0] == 'data: {"stream": "stdout", "data": "one\\n"}'
    with running_command(client, "echo \x07one".replace("\x07", "")) as response:
        assert response.read().count(b"\n") == 2
    with running_command(client, "echo one; exit 2", Accept="text/plain") as response:
        assert response.read() == b"one\n[exited 2]\n"


def test_a_command_is_written_down_without_its_arguments(plane, client, live):
    with running_command(client, "echo hush") as response:
        response.read()
    (row,) = [row for row in plane.store.audit if row.action == "service.run"]
    assert row.data["program"] == "echo"
    assert "hush" not in str(row)


def test_a_command_that_cannot_run_has_a_status(plane, client, app):
    path, body = "/v1/services/my-app/run", {"command": "true"}
    nothing_live = client.post(path, body)
    assert (nothing_live.status, nothing_live.json["error"]["details"]["desired"]) == (409, "running")
    plane.report("my-app")
    away = client.post(path, body)
    assert (away.status, away.json["error"]["details"]["instance"]) == (503, plane.instance.id)
    plane.runs.connect(plane.instance.id)
    assert client.post(path, body).status == 409
    bad = client.post(path, {"command": " ", "timeout": "2h"}).json["error"]["details"]
    assert [one["field"] for one in bad["errors"]] == ["command", "timeout"]
    plane.loop.run(plane.services.instances.disconnected(plane.instance.id, plane.epoch))
    assert client.post(path, body).status == 503


def test_what_a_command_cannot_be_asked_with_is_refused_before_it_runs(plane, client, live):
    answer = client.post("/v1/services/my-app/run", {"command": "echo one"}, **{"If-Match": '"1"'})
    assert answer.json["error"]["details"]["field"] == "If-Match"
    assert plane.runs.asked == []


def test_a_dry_run_of_a_command_says_what_would_be_run_and_runs_nothing(plane, client, live):
    answer = client.post("/v1/services/my-app/run?dry_run=true", {"command": "echo one"})
    assert answer.json["changes"][0]["summary"] == "run a command in service my-app"
    assert plane.runs.asked == []
    assert [row for row in plane.store.audit if row.action == "service.run"] == []


def test_a_command_is_never_started_twice_with_one_idempotency_key(plane, client, live):
    path, keyed = "/v1/services/my-app/run", {"Idempotency-Key": "k"}
    with running_command(client, "echo one; hang", **keyed) as response:
        response.readline()
        meanwhile = client.post(path, {"command": "echo one; hang"}, **keyed)
    wait_until(lambda: plane.runs.cancelled, what="the command is cancelled")
    (run_id,) = [query.run_id for query in plane.runs.asked]
    afterwards = client.post(path, {"command": "echo one; hang"}, **keyed)
    for answer in (meanwhile, afterwards):
        assert (answer.status, answer.json["error"]["details"]) == (409, {"run": run_id})
    assert client.post(path, {"command": "echo two"}, **keyed).status == 422
    assert len(plane.runs.asked) == 1


def test_a_command_that_was_refused_leaves_its_idempotency_key_free(plane, client, app):
    keyed = {"Idempotency-Key": "k"}
    assert client.post("/v1/services/my-app/run", {"command": "echo one"}, **keyed).status == 409
    plane.report("my-app")
    plane.runs.connect(plane.instance.id)
    plane.runs.serve(app["service_id"])
    with running_command(client, "echo one", **keyed) as response:
        assert response.readline()


def test_a_service_is_patched_without_a_build(plane, client, live):
    before = client.get("/v1/services/my-app")
    answer = patch(client, "/v1/services/my-app", {"replicas": 3}, If_Match=before.headers["etag"])
    assert answer.status == 200
    assert answer.json["generation"] == before.json["generation"] + 1
    release = client.get("/v1/deployments/my-app/releases/2").json
    assert (release["build_of"], release["config"]["replicas"]) == (1, 3)
    assert patch(client, "/v1/services/my-app", {"replicas": 2}, If_Match=before.headers["etag"]).status == 412
    dry = patch(client, "/v1/services/my-app?dry_run=true", {"resources": {"memory": "1G"}}).json
    assert dry["changes"][0]["data"]["changes"][0]["field"] == "resources"
    bad = patch(client, "/v1/services/my-app", {"replicas": 9, "health_check": {"interval": 0}})
    assert {one["field"] for one in bad.json["error"]["details"]["errors"]} == {"replicas", "health_check.interval"}
    assert patch(client, "/v1/services/my-app", {"port": 1}).status == 400
    assert len(client.get("/v1/deployments/my-app/releases").json["data"]) == 2


def test_processes_are_declared_and_scaled_with_their_replicas(plane, client, live):
    declared = {"worker": {"command": "work", "replicas": 2}, "clock": "tick"}
    shown = client.put("/v1/deployments/my-app", {"processes": declared}).json
    assert (shown["processes"], shown["process_replicas"]) == ({"clock": "tick", "worker": "work"}, {"worker": 2})
    assert shown["sources"]["process_replicas"] == "given"
    bad = patch(client, "/v1/services/my-app", {"process_replicas": {"worker": 6, "web": 2}}).json["error"]["details"]
    assert {one["field"] for one in bad["errors"]} == {"process_replicas.worker", "process_replicas.web"}
    answer = patch(client, "/v1/services/my-app", {"process_replicas": {"worker": 5, "clock": 3}})
    assert answer.status == 200
    assert client.get("/v1/deployments/my-app").json["process_replicas"] == {"clock": 3, "worker": 5}
    patch(client, "/v1/services/my-app", {"process_replicas": {"worker": None}})
    assert client.get("/v1/deployments/my-app").json["process_replicas"] == {"clock": 3}
    found = client.get("/v1/deployments/my-app/releases/3/diff/4").json["changes"]
    assert {one["field"]: one["to"] for one in found} == {"process_replicas": {"clock": 3}}


def test_a_service_shows_its_conditions_and_processes(plane, client, live):
    shown = client.get("/v1/services/my-app/status").json
    assert {one["type"]: one["status"] for one in shown["conditions"]} == {
        "Reachable": "True",
        "Synced": "True",
        "Ready": "True",
        "Healthy": "True",
    }
    (process,) = shown["processes"]
    assert process["uptime_s"] > 0
    assert (process["pid"], process["restarts"], process["last_exit"]) == (4711, 0, "")
    assert shown["reported_at"]


def test_a_crash_is_told_with_its_last_lines_to_those_who_may_read_the_log(plane, client, live):
    crash = values.Crash("oom", 9, "more than 64 MiB of memory", 1.5e9, 2.5, 0.5, 64 << 20, ("loading", "the model"))
    plane.report("my-app", process=builders.a_process(restarts=1, last_exit="oom", crash=crash))
    (process,) = client.get("/v1/services/my-app").json["processes"]
    assert process["crash"] == {
        "kind": "oom",
        "code": 9,
        "message": "more than 64 MiB of memory",
        "at": "2017-07-14T02:40:00.000Z",
        "ran_s": 2.5,
        "cpu_s": 0.5,
        "max_rss_bytes": 64 << 20,
        "lines": ["loading", "the model"],
    }
    (listed,) = client.get("/v1/services").json["data"][0]["processes"]
    assert listed["crash"] == {**process["crash"], "lines": []}
    token = client.post("/v1/tokens", {"name": "narrow", "scopes": ["service:read"]}).json["token"]
    for path in ("/v1/services/my-app", "/v1/services/my-app/status"):
        (seen,) = api_fixtures.Client(client.port, token).get(path).json["processes"]
        assert seen["crash"] == listed["crash"]


def test_instances_are_labelled_cordoned_drained_and_removed(plane, client, app):
    shown = client.get("/v1/instances/host-1")
    assert (shown.json["memory"], shown.json["services"], shown.json["runtimes"]) == (1 << 30, 1, {"go": "1.22.3"})
    labelled = patch(client, "/v1/instances/host-1", {"labels": {"disk": "ssd"}}, If_Match=shown.headers["etag"])
    assert (labelled.status, labelled.json["labels"]) == (200, {"disk": "ssd"})
    assert patch(client, "/v1/instances/host-1", {}, If_Match=shown.headers["etag"]).status == 412
    assert patch(client, "/v1/instances/host-1", {"name": "x"}).status == 400
    drained = client.post("/v1/instances/host-1/drain").json
    assert (drained["instance"]["status"], [one["name"] for one in drained["services"]]) == ("draining", ["my-app"])
    assert "do not move" in drained["message"]
    assert client.post("/v1/deployments", {**APP, "name": "other"}).status == 503
    assert client.get("/v1/instances?status=draining").json["data"][0]["id"] == plane.instance.id
    assert client.delete("/v1/instances/host-1").status == 409
    dry = client.request("DELETE", "/v1/instances/host-1?dry_run=true")
    assert dry.status == 409


def test_an_empty_instance_is_removed(client):
    assert client.request("DELETE", "/v1/instances/host-1?dry_run=true").json["status"] == 204
    assert client.delete("/v1/instances/host-1").status == 204
    assert client.get("/v1/instances/host-1").status == 404


def test_a_join_token_is_made_once_for_one_key(client):
    made = client.post("/v1/instances/join-tokens", None, **{"Idempotency-Key": "k"})
    assert (made.status, made.headers["location"]) == (201, "/v1/instances")
    assert made.json["token"].endswith("." + "f" * 64)
    assert made.json["token"] in made.json["command"]
    assert client.post("/v1/instances/join-tokens", None, **{"Idempotency-Key": "k"}).json == made.json
    hour = client.post("/v1/instances/join-tokens", {"expires_in": 3600}).json["expires_at"]
    apart = datetime.datetime.fromisoformat(hour) - datetime.datetime.fromisoformat(made.json["expires_at"])
    assert datetime.timedelta(minutes=45) <= apart < datetime.timedelta(minutes=46)
    for bad in ({"expires_in": 5}, {"expires_in": 10**9}, {"ttl": 60}):
        assert client.post("/v1/instances/join-tokens", bad).status == 400


def test_logs_take_every_filter_and_pages_go_on(plane, client, live):
    query = (
        "since=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00%2B01:00&grep=err&stream=stderr&process=web.1"
        "&release=1&source=run&tail=7"
    )
    assert client.get(f"/v1/services/my-app/logs?{query}").status == 200
    asked = plane.relay.queries[-1]
    assert (asked.grep, asked.stream, asked.process, asked.release, asked.source) == (
        "err",
        "stderr",
        "web.1",
        1,
        "run",
    )
    assert asked.until - asked.since == 23 * 3600
    plane.relay.tail = [api_fixtures.a_line(seq) for seq in range(1, 4)]
    page = client.get("/v1/services/my-app/logs").json
    assert page["next_cursor"] == "3"
    rest = client.get(f"/v1/services/my-app/logs?cursor={page['next_cursor']}").json
    assert rest == {"data": [], "next_cursor": None}
    for bad in ("since=yesterday", "stream=both", "cursor=x", "since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z"):
        assert client.get(f"/v1/services/my-app/logs?{bad}").status == 400, bad


def test_a_build_log_takes_the_filters_but_its_own(plane, client, live):
    assert client.get("/v1/deployments/my-app/releases/1/logs?grep=err&stream=stderr").status == 200
    asked = plane.relay.queries[-1]
    assert (asked.source, asked.release, asked.grep) == ("build", 1, "err")
    assert client.get("/v1/deployments/my-app/releases/1/logs?source=run").status == 400


def test_logs_of_an_instance_that_is_away(plane, client, live):
    plane.loop.run(plane.services.instances.disconnected(plane.instance.id, plane.epoch))
    away = client.get("/v1/services/my-app/logs")
    assert (away.status, away.json["error"]["details"]["instance"]) == (503, plane.instance.id)
    assert client.get("/v1/services/my-app/logs?partial=true").json == {"data": [], "next_cursor": None}


def test_a_viewer_may_look_and_a_stranger_sees_nothing(plane, client, live):
    async def make(email, role):
        async with plane.store.write() as tx:
            project = await tx.find_project("default")
            user = values.User(plane.services.ids.new("usr"), email, "", operator=False, created_at=project.created_at)
            await tx.insert_user(user)
            if role:
                await tx.put_member(values.Member(project.id, user.id, role, project.created_at))
        return user.id

    viewer = api_fixtures.Client(client.port, plane.token(sub=plane.loop.run(make("viewer@example.test", "viewer"))))
    stranger = api_fixtures.Client(client.port, plane.token(sub=plane.loop.run(make("stranger@example.test", ""))))
    assert viewer.get("/v1/deployments/my-app/releases/1").status == 200
    for path in ("deployments/my-app/cancel", "deployments/my-app/rollback", "deployments/my-app/redeploy"):
        assert viewer.post(f"/v1/{path}").status == 403
        assert stranger.post(f"/v1/{path}").status == 404
    assert viewer.post("/v1/services/my-app/run", {"command": "true"}).status == 403
    assert stranger.post("/v1/services/my-app/run", {"command": "true"}).status == 404
    assert upload(viewer, an_archive()).status == 403
    assert viewer.post("/v1/instances/join-tokens").status == 403
    assert viewer.get("/v1/instances").status == 200
