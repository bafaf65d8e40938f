"""A daemon that stands still for a while and goes on: what it held is stale by then, is not acted on, and nothing happens
twice.
"""

import contextlib
import http.client
import json
import os
import secrets
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import node_app
from tests.e2e.platform import Platform, Refused
from tests.oracle import processes
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)
NODE = {"runtime": "nodejs", "version": "20", "run_cmd": "node server.js"}


@contextlib.contextmanager
def paused(platform: Platform, module: str) -> Iterator[None]:
    (pid,) = platform.processes_of(module)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def running(platform: Platform, service_id: str) -> list[int]:
    """By the oracle: what is there, whatever anybody has written down."""
    every = processes.of(platform.data / "agent")
    return sorted(found.pid for found in every if found.service == service_id and "server.js" in found.words)


def answer(platform: Platform, domain: str) -> dict:
    status, body = platform.get(domain)
    return json.loads(body) if status == 200 else {}


def states(platform: Platform, name: str) -> dict[int, str]:
    return {one["number"]: one["state"] for one in platform.call("GET", f"/v1/deployments/{name}/releases")["data"]}


def the_only_one(platform: Platform, service_id: str, domain: str) -> bool:
    """Is the process that answers the only one?"""
    return running(platform, service_id) == [answer(platform, domain).get("pid")]


def test_wishes_that_came_while_the_agent_stood_still_end_in_the_newest_alone(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    found, domain = platform.live("stood", repository, **NODE)
    service_id, (before,) = found["service_id"], running(platform, found["service_id"])
    with paused(platform, "node_agent"):
        for number in (2, 3):
            platform.call("PUT", "/v1/deployments/stood", {"env": {"GREETING": str(number)}})
        os.kill(before, signal.SIGKILL)  # the supervisor needs no agent for this
        wait_until(lambda: running(platform, service_id) not in ([], [before]), 20, "the next life of the app")
    assert platform.settled("stood", 3)["status"] == "running"
    wait_until(lambda: answer(platform, domain).get("greeting") == "3", 20, "the newest release")
    wait_until(lambda: the_only_one(platform, service_id, domain), 40, "the end of the former release")
    assert states(platform, "stood")[2] in {"superseded", "cancelled", "failed"}


def test_what_is_asked_of_a_supervisor_that_stands_still_has_one_process(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    found, domain = platform.live("held", repository, **NODE)
    service_id, (before,) = found["service_id"], running(platform, found["service_id"])
    with paused(platform, "node_agent.supervisor"):
        platform.call("PUT", "/v1/deployments/held", {"env": {"GREETING": "2"}})
        platform.kill("node_agent")  # whoever asked is gone, and the next one asks again
        wait_until(lambda: platform.processes_of("node_agent"), 30, "the next agent")
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: running(platform, service_id) == [], 20, "the end of the app")
    assert platform.settled("held", 2)["status"] == "running"
    wait_until(lambda: answer(platform, domain).get("greeting") == "2", 20, "the new release")
    wait_until(lambda: the_only_one(platform, service_id, domain), 40, "the end of the former release")


def test_what_was_asked_of_a_control_plane_that_stood_still_happens_once(platform: Platform, repository) -> None:
    repository.commit(**node_app())
    found, domain = platform.live("asked-twice", repository, **NODE)
    service_id, before = found["service_id"], running(platform, found["service_id"])
    path, key = f"/v1/deployments/{found['id']}/redeploy", {"Idempotency-Key": secrets.token_hex(8)}
    with paused(platform, "control_plane"):
        ask_and_leave(platform, path, key)
        assert [answer(platform, domain)["pid"]] == before
    wait_until(platform.ready, 30, "readiness")
    first = wait_until(lambda: accepted(platform, path, key), 30, "the answer")
    assert platform.call("POST", path, headers=key) == first
    assert platform.settled("asked-twice", 2)["status"] == "running"
    wait_until(lambda: the_only_one(platform, service_id, domain), 60, "the end of the former release")
    assert sorted(states(platform, "asked-twice")) == [1, 2]


def ask_and_leave(platform: Platform, path: str, key: dict[str, str]) -> None:
    """The kernel takes the request; nobody waits for its answer."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.api)
    connection.request("POST", path, headers={"Authorization": f"Bearer {platform.token}", **key})
    connection.close()


def accepted(platform: Platform, path: str, key: dict[str, str]) -> dict | None:
    with contextlib.suppress(OSError, Refused):
        return platform.call("POST", path, headers=key)
    return None
