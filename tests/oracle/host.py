"""Whether a host at rest holds what it refers to, and nothing else: its processes, files, cgroups, ports and uids.

Reads /proc, cgroups, the data directory, a look into the journal's database, and nginx's own answer.
"""

import collections
import contextlib
import json
import pathlib
import socket
import sqlite3
from collections.abc import Collection, Iterator

from tests.oracle import processes

FINISHED = {"live", "retired", "failed", "cancelled", "superseded"}
KEPT_RELEASES = 7  # five, the one that serves, and the one whose build it uses


def commit_of(root: pathlib.Path, service: str, release: int) -> str:
    """That the journal holds of a release; empty when it holds none yet."""
    with _journal(root) as journal:
        asked = "SELECT commit_id FROM releases WHERE service_id = ? AND number = ?"
        return next((commit for (commit,) in journal.execute(asked, (service, release))), "")


def problems(root: pathlib.Path, serving: dict[str, int], stopped: Collection[str] = ()) -> list[str]:
    """Every sentence that speaks against the host; `serving` says which release of each service the outside sees. Those
    that are `stopped` have files and a user, and nothing that runs.
    """
    services = {*serving, *stopped}
    with _journal(root) as journal:
        return [
            *_doubled(root),
            *_processes(root, journal, serving),
            *_states(journal, serving),
            *_directories(root, services, serving),
            *_users(root, services),
            *_proxy(root),
            *_zombies(root),
        ]


def _journal(root: pathlib.Path) -> contextlib.closing[sqlite3.Connection]:
    return contextlib.closing(sqlite3.connect(f"file:{root}/agent/journal.db?mode=ro", uri=True))


def doubled(root: pathlib.Path) -> list[str]:
    """What may never be, at no moment: two copies of one process."""
    return list(_doubled(root))


def _doubled(root: pathlib.Path) -> Iterator[str]:
    found = processes.of(root)
    mains = collections.Counter(one.marker for one in found if one.service and "main.py" in one.words)
    yield from (f"{marker} runs {count} times" for marker, count in mains.items() if count > 1)


def _processes(root: pathlib.Path, journal: sqlite3.Connection, serving: dict[str, int]) -> Iterator[str]:
    """The running, the caged, the recorded, and those that have a port: the same, and those that serve."""
    running = {one.marker for one in processes.of(root) if one.service}
    caged = {place.name for place in processes.groups(tuple(serving) or ("svc_",)) if "svc_" in place.name}
    recorded = {file.stem for file in (root / "records").glob("svc_*.json")}
    ports = {name for (name,) in journal.execute("SELECT process_id FROM ports WHERE process_id IS NOT NULL")}
    if len({frozenset(running), frozenset(recorded), frozenset(ports)}) > 1:
        yield f"{sorted(running)} run, {sorted(recorded)} are recorded, {sorted(ports)} have ports"
    if caged and caged != running:
        yield f"{sorted(running)} run, {sorted(caged)} have cgroups"
    releases = {tuple(marker.split(".")[:2]) for marker in running}
    if releases != {(service, f"r{release}") for service, release in serving.items()}:
        yield f"{sorted(releases)} run, {serving} should"


def _states(journal: sqlite3.Connection, serving: dict[str, int]) -> Iterator[str]:
    live = dict(journal.execute("SELECT service_id, release FROM live"))
    if live != serving:
        yield f"the journal says that {live} are live, the outside {serving}"
    states = journal.execute("SELECT service_id, number, state FROM releases").fetchall()
    yield from (f"release {number} of {one} is {state}" for one, number, state in states if state not in FINISHED)
    for service, release in serving.items():
        for one, number, state in states:
            if one == service and (state == "live") != (number == release):
                yield f"release {number} of {one} is {state}, and {release} is live"
    if waiting := journal.execute("SELECT count(*) FROM spool").fetchone()[0]:
        yield f"{waiting} reports wait"


def _directories(root: pathlib.Path, services: set[str], serving: dict[str, int]) -> Iterator[str]:
    for name in ("trash", "archives", "runs"):
        if left := _names(root / name):
            yield f"{name} holds {left}"
    if left := [name for name in _names(root / "toolchains") if name.startswith(".new-")]:
        yield f"toolchains holds {left}"
    if (kept := set(_names(root / "services"))) != services:
        yield f"there are files of {kept}, services are {services}"
    for service, release in serving.items():
        place = root / "services" / service
        if left := _names(place / "builds"):
            yield f"builds of {service} holds {left}"
        if left := [name for name in _names(place / "volumes") if name.startswith(".")]:
            yield f"volumes of {service} holds {left}"
        found = _names(place / "releases")
        whole = [name for name in found if (place / "releases" / name / "manifest.json").exists()]
        if str(release) not in whole or set(found) != set(whole) or len(found) > KEPT_RELEASES:
            yield f"releases of {service} holds {found}, whole are {whole}, live is {release}"


def _users(root: pathlib.Path, services: set[str]) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        used = set(
            json.loads((root / "identities").read_text().split("\n")[0].partition(" ")[2] or "{}").get("used", {})
        )
        if used != services:
            yield f"{used} have users, services are {services}"


def _proxy(root: pathlib.Path) -> Iterator[str]:
    current = (root / "proxy" / "current").readlink().name
    answer = _generation(root / "nginx" / "run" / "status.sock")
    if str(answer) != current:
        yield f"nginx answers with generation {answer}, {current} is on disk"
    if (root / "proxy" / "change.json").exists():
        yield "a change of the proxy is under way"


def _generation(path: pathlib.Path) -> int | None:
    with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(5)
        peer.connect(str(path))
        peer.sendall(b"GET /generation HTTP/1.0\r\nHost: status\r\n\r\n")
        text = b""
        while part := peer.recv(4096):
            text += part
        return int(text.rpartition(b"\r\n\r\n")[2])
    return None


def _zombies(root: pathlib.Path) -> Iterator[str]:
    ours = {one.pid for one in processes.of(root) if not one.service}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
                if state == "Z" and int(parent) in ours:
                    yield f"{entry.name} is a zombie of {parent}"


def _names(directory: pathlib.Path) -> Collection[str]:
    with contextlib.suppress(FileNotFoundError):
        return sorted(entry.name for entry in directory.iterdir())
    return []


def answers(root: pathlib.Path) -> bool:
    """Does a supervisor listen?"""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(root / "supervisor.sock"))
        return True
    return False
