"""Releases of more than one process: replicas that share the requests, and processes that get none."""

import pytest

from tests.e2e.platform import Platform, free_port
from tests.e2e.test_life import APP, PYTHON
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(100)

WORKER = "import os, time\nprint('at work', os.environ['DPLOYR_PROCESS'], flush=True)\ntime.sleep(100000)\n"
SAYS_PID = APP.replace("open('words').read().strip()", "os.getpid()")


def processes(platform: Platform, name: str) -> dict[str, dict]:
    return {process["name"]: process for process in platform.call("GET", f"/v1/services/{name}")["processes"]}


CLOCK = "processes: {clock: {command: python worker.py, replicas: 2}}\n"


def test_replicas_share_the_requests_and_workers_stand_beside_them(platform: Platform, repository) -> None:
    repository.commit(app__py=SAYS_PID, worker__py=WORKER, dployr__yaml=CLOCK)
    beside = {"mail-out": "python worker.py"}
    found, domain = platform.live("many", repository, replicas=3, processes=beside, **PYTHON)
    known = processes(platform, "many")
    assert sorted(known) == ["clock.1", "clock.2", "mail-out.1", "web.1", "web.2", "web.3"]
    assert {"process_replicas.clock": "2"}.items() <= {one["field"]: one["value"] for one in found["decided"]}.items()
    web = {str(process["pid"]) for name, process in known.items() if name.startswith("web.")}
    answered: set[str] = set()
    wait_until(lambda: answered.add(platform.get(domain)[1].split()[0]) or answered == web, 20, "every replica")

    logged = platform.call("GET", f"/v1/services/{found['service_id']}/logs?process=mail-out.1")["data"]
    assert ["at work " in line["line"] for line in logged] == [True]

    scaled = platform.command("service", "scale", "many", "web=1", "mail-out=2", "clock=0")
    assert scaled.returncode == 0, scaled.stderr
    assert platform.settled("many", 2)["process_replicas"] == {"clock": 0, "mail-out": 2}
    left = ["mail-out.1", "mail-out.2", "web.1"]
    wait_until(lambda: sorted(processes(platform, "many")) == left, 60, "the former ones to end")
    assert platform.call("GET", "/v1/deployments/many/releases/2")["build_of"] == 1
    refused = platform.command("service", "scale", "many", "mail-inn=2")
    assert "mail-inn" in refused.stderr


def test_a_worker_without_requests_needs_neither_a_port_nor_a_route(platform: Platform, repository) -> None:
    repository.commit(worker__py=WORKER)
    wanted = {"name": "silent", "source": "remote", "remote": repository.path.as_uri(), "runtime": "python"}
    body = {**wanted, "build_cmd": "true", "processes": {"worker": "python worker.py"}}
    made = platform.call("POST", "/v1/deployments", body)
    found = platform.settled("silent", 1)
    assert found["status"] == "running", found
    assert sorted(processes(platform, "silent")) == ["worker.1"]
    domain = platform.route("silent", made["service_id"], made["port"])
    route = f"/v1/proxy/routes?domain={domain}"
    wait_until(lambda: platform.call("GET", route)["data"][0]["status"] == "failed", 20, "the route to be refused")
    assert "no process that takes requests" in platform.call("GET", route)["data"][0]["message"]


def test_a_release_command_runs_once_before_the_app_and_stops_a_release_that_it_fails(
    platform: Platform, repository
) -> None:
    """It prints into the build log, with the secrets of the app, and stands in the Procfile."""
    procfile = 'release: echo migrating $DPLOYR_RELEASE; test "$KEY" = known\nweb: python app.py\n'
    repository.commit(app__py=APP, words="one", Procfile=procfile)
    wanted = {"runtime": "python", "build_cmd": "true", "secrets": {"KEY": "known"}}
    _, domain = platform.live("moved", repository, **wanted)
    platform.says(domain, "one 1 ".__eq__)
    assert list(processes(platform, "moved")) == ["web.1"]
    lines = platform.call("GET", "/v1/deployments/moved/releases/1/logs?tail=500")["data"]
    assert [line["line"] for line in lines].count("migrating 1") == 1

    failed = platform.put("moved", secrets={"KEY": "lost"})
    assert "the release command `echo migrating" in failed["status_reason"], failed
    assert "last lines: migrating 2" in failed["status_reason"]
    platform.says(domain, "one 1 ".__eq__)


OWN_PORT = "PORT = @" + APP.replace('int(os.environ["PORT"])', "PORT")


def test_an_app_with_a_port_of_its_own_is_released_by_turns_and_the_former_one_comes_back(
    platform: Platform, repository
) -> None:
    port = free_port()
    repository.commit(app__py=OWN_PORT.replace("@", str(port)), words="one")
    fields = {**PYTHON, "port": port, "health_check": {"start_period": 5}}
    made = platform.deploy("stubborn", repository, **fields)
    failed = platform.settled("stubborn", 1)
    assert "port_mode" in failed["status_reason"], failed

    domain = platform.route("stubborn", made["service_id"], port)
    assert platform.put("stubborn", port_mode="fixed")["status"] == "running"
    platform.says(domain, "one 2 ".__eq__)
    repository.commit(words="two")
    platform.call("POST", "/v1/deployments/stubborn/redeploy")
    assert platform.settled("stubborn", 3)["status"] == "running"
    platform.says(domain, "two 3 ".__eq__)

    repository.commit(app__py="raise SystemExit('no luck')")
    platform.call("POST", "/v1/deployments/stubborn/redeploy")
    platform.settled("stubborn", 4)
    platform.says(domain, "two 3 ".__eq__)
    assert platform.call("GET", "/v1/deployments/stubborn")["live_release"] == 3


MOODY = APP.replace("self.send_response(200)", "self.send_response(int(open('status').read()))")
CANARY = {"kind": "canary", "weight": 50, "interval": "600s"}


def test_a_canary_that_fails_its_requests_gives_them_back(platform: Platform, repository) -> None:
    repository.commit(app__py=MOODY, words="good", status="200")
    _, domain = platform.live("bird", repository, strategy=CANARY, **PYTHON)
    repository.commit(words="bad", status="500")
    platform.call("POST", "/v1/deployments/bird/redeploy")

    def stopped() -> bool:
        platform.get(domain)
        return platform.call("GET", "/v1/deployments/bird/releases/2")["state"] == "failed"

    wait_until(stopped, 60, "the canary to be stopped")
    failed = platform.call("GET", "/v1/deployments/bird/releases/2")
    assert failed["reason"] == "canary_failed"
    assert "requests to the new release failed" in failed["message"]
    wait_until(lambda: list(processes(platform, "bird")) == ["web.1"], 60, "the canary to be gone")
    assert {platform.get(domain) for _ in range(20)} == {(200, "good 1 ")}


def test_a_canary_that_does_well_gets_all_requests_though_its_agent_is_killed_on_the_way(
    platform: Platform, repository
) -> None:
    repository.commit(app__py=MOODY, words="one", status="200")
    _, domain = platform.live("song", repository, strategy={**CANARY, "steps": [90], "interval": 1}, **PYTHON)
    repository.commit(words="two")
    platform.call("POST", "/v1/deployments/song/redeploy")
    seen: set[str] = set()

    def both() -> bool:
        seen.add(platform.get(domain)[1])
        return seen == {"one 1 ", "two 2 "}

    wait_until(both, 60, "answers of both releases")
    platform.kill("node_agent")
    assert platform.get(domain)[0] == 200
    assert platform.settled("song", 2)["status"] == "running"
    platform.says(domain, "two 2 ".__eq__)
