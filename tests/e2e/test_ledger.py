"""Deployments that come and go leave nothing: no user, port, process, control group, directory, record or file of the proxy."""

import contextlib
import json
import os
import pathlib
import sqlite3

import pytest

from tests.e2e.platform import Platform, Refused
from tests.e2e.test_life import APP, PYTHON
from tests.waiting import wait_until

ROUNDS = 200 if os.environ.get("TEST_ALL") else 4
pytestmark = pytest.mark.timeout(60 + 20 * ROUNDS)


def ledger(platform: Platform) -> dict[str, list]:
    """Everything that a deployment is given on its host."""
    agent = platform.data / "agent"
    with contextlib.closing(sqlite3.connect(f"file:{agent / 'agent/journal.db'}?mode=ro", uri=True)) as journal:
        ports = [row[0] for row in journal.execute("SELECT process_id FROM ports WHERE process_id IS NOT NULL")]
    identities = agent / "identities"
    used = json.loads(identities.read_bytes().split(b" ", 1)[-1])["used"] if identities.exists() else {}
    mark = str(platform.data).encode()
    return {
        "services": names(agent / "services"),
        "records": names(agent / "records"),
        "archives": names(agent / "archives"),
        "upstreams": names(agent / "proxy" / "current" / "upstreams"),
        "routes": names(agent / "proxy" / "current" / "routes"),
        "uids": sorted(used),
        "ports": ports,
        "processes": sorted(found for found in map(marker_of, pathlib.Path("/proc").iterdir()) if mark in found),
    }


def names(directory: pathlib.Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir()) if directory.exists() else []


def marker_of(process: pathlib.Path) -> bytes:
    """The command line and environment of a process of ours, without what differs from life to life."""
    try:
        environment = (process / "environ").read_bytes().split(b"\0") if process.name.isdigit() else []
    except OSError:
        return b""
    return b" ".join(word for word in environment if word.startswith((b"DPLOYR_PROCESS=", b"DPLOYR_ROOT=", b"HOME=")))


def groups(services: list[str]) -> list[str]:
    """Control groups of these services."""
    found = []
    for top in pathlib.Path("/sys/fs/cgroup").glob("*"):
        for place, _, _ in os.walk(top):
            found += [place for service in services if service in place]
    return found


def left(platform: Platform, ids: list[str]) -> dict[str, list[str]]:
    """What of the ledger speaks of these services and routes; other tests have deployments on the same host."""
    found = {part: [str(entry) for entry in entries] for part, entries in ledger(platform).items()}
    told = {part: [entry for entry in entries if any(one in entry for one in ids)] for part, entries in found.items()}
    return {part: entries for part, entries in told.items() if entries}


def test_what_came_and_went_leaves_nothing_in_the_ledger(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="here")
    services: list[str] = []
    routes: list[str] = []
    for number in range(ROUNDS):
        name = f"round-{number}"
        found, domain = platform.live(name, repository, processes={"worker": "sleep 100000"}, **PYTHON)
        services.append(found["service_id"])
        routes += [route["id"] for route in platform.call("GET", f"/v1/proxy/routes?domain={domain}")["data"]]
        there = left(platform, [found["service_id"], *routes])
        assert {"services", "records", "upstreams", "routes", "ports", "processes"} <= set(there), there
        platform.call("DELETE", f"/v1/deployments/{name}")
        wait_until(lambda name=name: gone(platform, name), 60, f"the end of {name}")
    wait_until(lambda: left(platform, services + routes) == {}, 30, "nothing of them to be left")
    assert groups(services) == []


def gone(platform: Platform, name: str) -> bool:
    try:
        platform.call("GET", f"/v1/deployments/{name}")
    except Refused as refused:
        return refused.status == 404
    return False
