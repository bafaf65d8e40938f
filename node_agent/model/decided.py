"""What a source decided for its release, beside what was asked for: rows that are sealed with it, reported, and used.

Pure. What the request says always comes first: also when it changes later and the build stays.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from detection import choices, manifest
from node_agent.model import spec

SETTINGS = ("env", "health_check", "resources", "process_replicas", "volumes", "cron")
FIELDS = {"build": "build_cmd", "run": "run_cmd"}
OF_BUILD = ("runtime", "version", "build_cmd", "working_dir", "static_dir")  # what the key of a build holds
USUAL: Mapping[str, object] = {"health_check": spec.HealthCheck(), "resources": spec.Resources(), "volumes": ()}
SECONDS = ("interval", "timeout", "start_period")


@dataclasses.dataclass(frozen=True, slots=True)
class Decided:
    """One value by the name of its field, as text; `origin` is `file` or `detected`, `reason` where it stands."""

    field: str
    value: str
    origin: str
    reason: str


Rows = tuple[Decided, ...]


def asked(release: spec.ReleaseSpec) -> dict[str, str]:
    """What the request says, for detection. A control plane that does not tell counts by what it sent."""
    plain = {
        "runtime": release.runtime.value,
        "version": release.version,
        "build_cmd": release.build_cmd,
        "run_cmd": release.run_cmd,
        "working_dir": release.working_dir,
        "static_dir": release.static_dir,
        "port": str(release.port) if release.port and ("port" in release.given or not release.given) else "",
    }
    processes = {f"processes.{name}": command for name, command in release.processes}
    return {name: value for name, value in {**plain, **processes}.items() if value}


def asked_of_build(release: spec.ReleaseSpec) -> dict[str, str]:
    """The part of `asked` that is the same for all who use the build again."""
    return {name: value for name, value in asked(release).items() if name in OF_BUILD}


def rows_of(decision: choices.Decision, said: manifest.Manifest) -> Rows:
    """What the source decided: of the decision what nobody asked for, and the settings in its file.

    Sealed are the rows of a decision by `asked_of_build`: a request that is taken back later leaves what the source says.
    """
    rows = [
        Decided(FIELDS.get(name, name), choice.value, choice.origin, choice.reason)
        for name, choice in decision.rows()
        if choice and choice.origin in {choices.FILE, choices.DETECTED}
    ]
    settings = [(name, value) for name, value in said.values.items() if name.partition(".")[0] in SETTINGS]
    return (*rows, *(Decided(name, value, choices.FILE, said.file) for name, value in settings))


def still(rows: Rows, release: spec.ReleaseSpec) -> Rows:
    """The rows that hold for a release that uses their build: what it asks for itself comes first."""
    names = {*asked(release), *(f"env.{key}" for key, _ in release.env)}
    names |= {f"process_replicas.{name}" for name, _ in release.process_replicas}
    entries = {entry.name for entry in release.cron}
    whole = {name for name, usual in USUAL.items() if _is_given(release, name, usual)}
    return tuple(
        row
        for row in rows
        if row.field not in names and row.field.partition(".")[0] not in whole and _entry_of(row.field) not in entries
    )


def _entry_of(field: str) -> str:
    """The cron entry that the field is of; "" for any other."""
    kind, _, rest = field.partition(".")
    return rest.partition(".")[0] if kind == "cron" else ""


def _is_given(release: spec.ReleaseSpec, name: str, usual: object) -> bool:
    return name in release.given or (not release.given and getattr(release, name) != usual)


def effective(release: spec.ReleaseSpec, rows: Rows) -> spec.ReleaseSpec:
    """The release with what its source decided in the places that nobody asked for."""
    found = {row.field: row.value for row in still(rows, release)}
    if not found:
        return release
    plain: dict[str, Any] = {
        name: found[name] for name in ("version", "build_cmd", "run_cmd", "working_dir", "static_dir") if name in found
    }
    return dataclasses.replace(
        release,
        **plain,
        runtime=spec.Runtime(found.get("runtime", release.runtime.value)),
        port=int(found.get("port", release.port)),
        env=tuple(sorted({**_below(found, "env"), **dict(release.env)}.items())),
        processes=tuple(sorted({**_below(found, "processes"), **dict(release.processes)}.items())),
        process_replicas=tuple(sorted({**_counts(found), **dict(release.process_replicas)}.items())),
        cron=tuple(sorted((*release.cron, *_entries(_below(found, "cron"))), key=lambda entry: entry.name)),
        health_check=_health_check(release.health_check, _below(found, "health_check")),
        resources=_resources(release.resources, _below(found, "resources")),
        volumes=tuple(sorted(_below(found, "volumes").items())) or release.volumes,
    )


def _below(found: Mapping[str, str], field: str) -> dict[str, str]:
    lead = f"{field}."
    return {name.removeprefix(lead): value for name, value in found.items() if name.startswith(lead)}


def _counts(found: Mapping[str, str]) -> dict[str, int]:
    return {name: int(count) for name, count in _below(found, "process_replicas").items()}


def _entries(said: Mapping[str, str]) -> Iterable[spec.CronEntry]:
    usual = spec.CronEntry("", "", "")
    for name in {field.partition(".")[0] for field in said}:
        entry = _below(said, name)
        yield spec.CronEntry(
            name=name,
            schedule=entry["schedule"],
            command=entry["command"],
            overlap=entry.get("overlap", usual.overlap),
            timeout_s=float(entry.get("timeout", usual.timeout_s)),
        )


def _health_check(check: spec.HealthCheck, said: Mapping[str, str]) -> spec.HealthCheck:
    if not said:
        return check
    implied = "command" if "command" in said else "http" if "path" in said else check.kind
    seconds = {f"{name}_s": float(said[name]) for name in SECONDS if name in said}
    return dataclasses.replace(
        check,
        kind=said.get("kind", implied),
        path=said.get("path", check.path),
        command=said.get("command", check.command),
        retries=int(said.get("retries", check.retries)),
        **seconds,
    )


def _resources(limits: spec.Resources, said: Mapping[str, str]) -> spec.Resources:
    if not said:
        return limits
    return spec.Resources(
        memory_bytes=int(said.get("memory", limits.memory_bytes)),
        cpu=float(said.get("cpu", limits.cpu)),
        pids=int(said.get("pids", limits.pids)),
        disk_bytes=int(said.get("disk", limits.disk_bytes)),
        strict=said.get("strict", str(limits.strict).lower()) == "true",
    )


def loaded(rows: Iterable[Iterable[str]]) -> Rows:
    """The rows of a JSON document. Raises TypeError, ValueError."""
    return tuple(Decided(*(str(part) for part in row)) for row in rows)


def dumped(rows: Rows) -> list[list[str]]:
    return [[row.field, row.value, row.origin, row.reason] for row in rows]
