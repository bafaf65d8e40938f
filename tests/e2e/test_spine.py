"""The spine, end to end on real parts: REST → control plane → gRPC → agent → git → build → process → nginx → 200."""

import json
import os
import pathlib
import signal

import pytest

from tests.e2e.conftest import node_app
from tests.e2e.platform import Load, Platform, Refused
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
NODE = {"runtime": "nodejs", "version": "20", "run_cmd": "node server.js"}


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("hello-node", {"runtime": "nodejs", "version": "20", "build_cmd": "npm install", "run_cmd": "npm start"}),
        ("hello-python", {"runtime": "python", "run_cmd": "python app.py"}),
        ("hello-static", {"runtime": "static", "static_dir": "public"}),
    ],
)
def test_an_example_is_deployed_and_answers_by_its_domain(platform: Platform, example, name, fields) -> None:
    found, domain = platform.live(name, example(name), **fields)
    assert found["live_release"] == 1
    assert len(found["commit"]) == 40
    assert platform.get(domain)[0] == 200
    build = platform.call("GET", f"/v1/deployments/{name}/releases/1/logs?tail=500")["data"]
    assert any(found["commit"][:7] in line["line"] for line in build)
    assert platform.get("nobody.test")[0] == 404


def test_a_put_under_load_loses_no_request_and_changes_the_version(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    _, domain = platform.live("busy", repository, **NODE)
    assert json.loads(platform.get(domain)[1])["version"].startswith("v20.")
    with Load(platform, domain) as load:
        changed = platform.put("busy", version="22", env={"GREETING": "hello"})
        assert changed["status"] == "running", changed
        wait_until(lambda: json.loads(load.answers[-1][1])["release"] == "2", 30, "answers of release 2")
    assert load.failed == []
    answer = json.loads(platform.says(domain, lambda body: json.loads(body)["release"] == "2"))
    assert answer["version"].startswith("v22.")
    assert answer["greeting"] == "hello"


def test_a_broken_build_leaves_the_old_release_serving_and_says_why(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    _, domain = platform.live("builds", repository, **NODE)
    pids = platform.pids("builds")
    failed = platform.put("builds", build_cmd="echo the build is broken; exit 3")
    assert failed["status"] == "failed"
    assert failed["live_release"] == 1
    assert "3" in failed["status_reason"]
    assert platform.pids("builds") == pids
    assert json.loads(platform.get(domain)[1])["release"] == "1"
    assert platform.call("GET", "/v1/services/builds/status")["status"] == "running"
    mended = platform.put("builds", build_cmd="echo built")
    assert mended["status"] == "running"


def test_a_release_that_answers_500_leaves_the_old_one_serving(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    check = {"kind": "http", "path": "/health", "start_period": 3, "retries": 2}
    _, domain = platform.live("gate", repository, health_check=check, **NODE)
    pids = platform.pids("gate")
    repository.commit(**node_app(health=500))
    with Load(platform, domain) as load:
        failed = platform.put("gate", env={"TRY": "again"})
    assert load.failed == []
    assert failed["status"] == "failed"
    assert "500" in failed["status_reason"]
    wait_until(lambda: platform.pids("gate") == pids, 20, "the end of the failed release")


@pytest.mark.parametrize("module", ["node_agent", "node_agent.supervisor", "control_plane"])
def test_a_killed_daemon_is_noticed_by_no_application(platform: Platform, repository, module: str) -> None:
    name = "killed-" + module.replace(".", "-").replace("_", "-")
    repository.commit(**node_app())
    _, domain = platform.live(name, repository, **NODE)
    pids = platform.pids(name)
    with Load(platform, domain) as load:
        platform.kill(module)
        wait_until(lambda: platform.processes_of(module), 30, f"{module} again")
        wait_until(platform.ready, 30, "readiness")
    assert load.failed == []
    assert platform.pids(name) == pids
    assert all(pathlib.Path(f"/proc/{pid}").exists() for pid in pids)
    assert platform.put(name, env={"GREETING": "again"})["status"] == "running"
    platform.says(domain, lambda body: json.loads(body).get("greeting") == "again")


def test_an_accepted_deployment_happens_though_the_control_plane_dies_before_sending(
    platform: Platform, repository
) -> None:
    repository.commit(**node_app())
    assert platform.up is not None
    os.kill(platform.up.pid, signal.SIGSTOP)  # so that nothing is started again before we want it
    try:
        platform.kill("node_agent")
        platform.deploy("accepted", repository, **NODE)
        platform.kill("control_plane")
    finally:
        os.kill(platform.up.pid, signal.SIGCONT)
    wait_until(platform.ready, 60, "readiness")
    assert platform.settled("accepted", 1)["status"] == "running"


def test_stop_and_start_and_restart(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    _, domain = platform.live("cycle", repository, **NODE)
    before = platform.pids("cycle")
    with Load(platform, domain) as load:
        platform.call("POST", "/v1/services/cycle/restart")
        wait_until(lambda: len(p := platform.pids("cycle")) == 1 and p != before, 30, "the restart")
    assert load.failed == []
    platform.call("POST", "/v1/services/cycle/stop")
    wait_until(lambda: platform.call("GET", "/v1/services/cycle/status")["status"] == "stopped", 30, "the stop")
    assert platform.pids("cycle") == []
    platform.call("POST", "/v1/services/cycle/start")
    wait_until(lambda: platform.get(domain)[0] == 200, 30, "the start")


def test_logs_come_back_with_tail_and_in_order(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    _, domain = platform.live("talks", repository, **NODE)
    for number in range(20):
        platform.get(domain, f"/line-{number}")

    def lines() -> list[dict]:
        return platform.call("GET", "/v1/services/talks/logs?tail=10")["data"]

    wait_until(lambda: lines()[-1:] and lines()[-1]["line"] == "request /line-19", 20, "the last line")
    tail = lines()
    assert [line["line"] for line in tail] == [f"request /line-{number}" for number in range(10, 20)]
    assert [line["seq"] for line in tail] == list(range(tail[0]["seq"], tail[0]["seq"] + 10))


def test_a_followed_log_shows_new_lines_and_goes_on_after_the_agent_was_killed(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    _, domain = platform.live("follows", repository, **NODE)
    with platform.follow("/v1/services/follows/logs?tail=1&follow=true") as lines:
        seen = []
        for word in ("before", "after"):
            platform.get(domain, f"/{word}")
            seen.append(next(line for line in lines if line["line"] == f"request /{word}"))
            if word == "before":
                platform.kill("node_agent")
    assert seen[1]["seq"] == seen[0]["seq"] + 1


def test_the_instance_reports_metrics(platform: Platform) -> None:
    (instance,) = platform.call("GET", "/v1/instances")["data"]
    assert instance["status"] == "online"

    def latest() -> dict | None:
        try:
            return platform.call("GET", f"/v1/instances/{instance['id']}/metrics")["latest"]["families"]
        except Refused:
            return None

    assert wait_until(latest, 30, "a sample")["memory"]


def test_what_an_instance_measured_is_shown_over_time(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    found, _ = platform.live("measured", repository, **NODE)
    (instance,) = platform.call("GET", "/v1/instances")["data"]
    mine = {"service": found["service_id"]}

    def shown() -> dict | None:
        try:
            answer = platform.call("GET", f"/v1/instances/{instance['id']}/metrics")
        except Refused:  # nothing was measured yet
            return None
        measured = [one["labels"] for one in answer["series"] if one["name"] == "service_rss_bytes"]
        return answer if len(answer["times"]) >= 2 and mine in measured else None

    answer = wait_until(shown, 60, "two points")
    values = {one["name"]: one["values"] for one in answer["series"]}
    assert {"load", "cpu_percent", "memory_used_bytes", "service_cpu_percent"} <= set(values)
    assert {len(column) for column in values.values()} == {len(answer["times"])}
    assert all(value > 0 for value in values["memory_used_bytes"] if value is not None)
    assert answer["times"] == sorted(answer["times"])


def test_deletion_frees_the_port_the_files_and_the_route(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    found, domain = platform.live("gone", repository, **NODE)
    (process,) = platform.call("GET", "/v1/services/gone")["processes"]
    platform.call("DELETE", "/v1/deployments/gone")

    def answer() -> int:
        try:
            platform.call("GET", "/v1/deployments/gone")
        except Refused as refused:
            return refused.status
        return 200

    wait_until(lambda: answer() == 404, 60, "the end of the deployment")
    wait_until(lambda: platform.get(domain)[0] == 404, 20, "the end of the route")
    assert not pathlib.Path(f"/proc/{process['pid']}").exists()
    assert not (platform.data / "agent" / "services" / found["service_id"]).exists()
    assert platform.call("GET", "/v1/proxy/routes?limit=200")["data"] == [
        route
        for route in platform.call("GET", "/v1/proxy/routes?limit=200")["data"]
        if route["service_id"] != found["service_id"]
    ]
    repository.commit(note="again")
    assert platform.live("gone", repository, **NODE)[0]["release"] == 1


def test_a_second_up_finds_the_same_processes(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    _, domain = platform.live("stays", repository, **NODE)
    pids = platform.pids("stays")
    with Load(platform, domain) as load:
        assert platform.stop() == 0
        assert platform.processes_of("control_plane") == []
        assert platform.processes_of("node_agent") == []
        platform.start()
    assert load.failed == []
    assert platform.pids("stays") == pids


def test_the_command_line_deploys_follows_and_says_by_its_exit_code_how_it_ended(
    platform: Platform, repository
) -> None:
    repository.commit(**node_app())
    words = ("--remote", repository.as_uri(), "--runtime", "nodejs", "--version", "20", "--port", "3000")
    first = platform.command(
        "deploy", "--name", "by-hand", "--run-cmd", "node server.js", *words, "--domain", "by-hand.test"
    )
    assert first.returncode == 0, first.stderr
    assert "==> source" in first.stdout + first.stderr
    platform.says("by-hand.test", lambda body: json.loads(body)["release"] == "1")
    commit = repository.commit(note="a push")
    again = platform.command("--json", "deploy", "--name", "by-hand")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["commit"] == commit
    platform.says("by-hand.test", lambda body: json.loads(body)["release"] == "2")
    broken = platform.command("deploy", "--name", "by-hand", "--build-cmd", "exit 3")
    assert broken.returncode == 1
    assert "exited with code 3" in broken.stdout + broken.stderr
    assert platform.command("get", "nothing-of-that-name").returncode == 1
