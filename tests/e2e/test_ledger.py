"""Deployments that come and go leave nothing: the same users, ports, control groups, directories, mounts and files as before."""

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


def ledger(platform: Platform) -> dict[str, object]:
    """Everything that a deployment is given on its host."""
    agent = platform.data / "agent"
    with contextlib.closing(sqlite3.connect(f"file:{agent / 'agent/journal.db'}?mode=ro", uri=True)) as journal:
        ports = {row[0] for row in journal.execute("SELECT process_id FROM ports WHERE process_id IS NOT NULL")}
    identities = agent / "identities"
    used = json.loads(identities.read_bytes().split(b" ", 1)[-1])["used"] if identities.exists() else {}
    mark = str(platform.data).encode()
    return {
        "services": names(agent / "services"),
        "records": names(agent / "records"),
        "trash": names(agent / "trash"),
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


def test_what_came_and_went_leaves_the_ledger_as_it_was(platform: Platform, repository) -> None:
    repository.commit(app__py=APP, words="here")
    before, services = ledger(platform), []
    for number in range(ROUNDS):
        name = f"round-{number}"
        found, _ = platform.live(name, repository, processes={"worker": "sleep 100000"}, **PYTHON)
        services.append(found["service_id"])
        assert all(ledger(platform)[part] != before[part] for part in ("services", "uids", "ports", "processes"))
        platform.call("DELETE", f"/v1/deployments/{name}")
        wait_until(lambda name=name: gone(platform, name), 60, f"the end of {name}")
    wait_until(lambda: differences(before, ledger(platform)) == {}, 30, "the ledger to be as it was")
    assert groups(services) == []


def differences(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    return {part: (before[part], after[part]) for part in before if before[part] != after[part]}


def gone(platform: Platform, name: str) -> bool:
    try:
        platform.call("GET", f"/v1/deployments/{name}")
    except Refused as refused:
        return refused.status == 404
    return False
