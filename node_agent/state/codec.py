"""Specs, sites and reports as JSON text for the journal, and back. The only place that knows this form."""

import dataclasses
import json
from typing import Any

from node_agent import ports
from node_agent.model import spec, status
from node_agent.model.crash import Crash, Kind
from node_agent.model.decided import Decided


def _plain(value: Any) -> Any:
    return value.value


def dump(value: Any) -> str:
    """Any of the dataclasses below as JSON; enums by their value."""
    return json.dumps(dataclasses.asdict(value), default=_plain, separators=(",", ":"))


def _release(data: dict[str, Any]) -> spec.ReleaseSpec:
    """What an earlier version did not write has its default."""
    strategy = data.get("strategy", {})
    return spec.ReleaseSpec(
        **{
            **data,
            "runtime": spec.Runtime(data["runtime"]),
            "env": _pairs(data["env"]),
            "health_check": spec.HealthCheck(**data["health_check"]),
            "secret_keys": tuple(data.get("secret_keys", ())),
            "resources": spec.Resources(**data.get("resources", {})),
            "strategy": spec.Strategy(**{**strategy, "steps": tuple(strategy.get("steps", ()))}),
            "processes": _pairs(data.get("processes", ())),
            "process_replicas": _pairs(data.get("process_replicas", ())),
            "volumes": _pairs(data.get("volumes", ())),
            "given": tuple(data.get("given", ())),
            "cron": tuple(spec.CronEntry(**entry) for entry in data.get("cron", ())),
        }
    )


def _pairs(data: Any) -> tuple[tuple[Any, Any], ...]:
    return tuple((key, value) for key, value in data)


def load_release(text: str) -> spec.ReleaseSpec:
    return _release(json.loads(text))


def _routes(data: list[dict[str, Any]]) -> tuple[spec.RouteSpec, ...]:
    return tuple(spec.RouteSpec(**{**route, "options": _options(route.get("options", {}))}) for route in data)


def _options(data: dict[str, Any]) -> spec.RouteOptions:
    pairs = {name: _pairs(data.get(name, ())) for name in ("basic_auth", "headers", "weights")}
    return spec.RouteOptions(**{**data, **pairs})


def load_service(text: str) -> spec.ServiceSpec:
    data = json.loads(text)
    release = _release(data["release"]) if data["release"] else None
    changed = {
        "run": spec.Run(data["run"]),
        "release": release,
        "routes": _routes(data["routes"]),
        "pinned": tuple(data.get("pinned", ())),
    }
    return spec.ServiceSpec(**{**data, **changed})


def load_site(text: str) -> ports.Site:
    data = json.loads(text)
    upstream = {**data["upstream"], "ports": tuple(data["upstream"]["ports"])}
    if canary := upstream.get("canary"):
        upstream["canary"] = ports.Canary(**{**canary, "ports": tuple(canary["ports"])})
    former = _routes(data.get("former", []))
    return ports.Site(data["service_id"], ports.Upstream(**upstream), _routes(data["routes"]), former)


def load_report(text: str) -> status.ServiceReport:
    data = json.loads(text)
    releases = (
        status.ReleaseReport(
            **{
                **release,
                "state": status.ReleaseState(release["state"]),
                "decided": tuple(Decided(**row) for row in release.get("decided", ())),
            }
        )
        for release in data["releases"]
    )
    changed = {
        "releases": tuple(releases),
        "processes": tuple(
            status.ProcessReport(**{**process, "crash": _crash(process.get("crash"))}) for process in data["processes"]
        ),
        "routes": tuple(status.RouteReport(**route) for route in data["routes"]),
        "cron": tuple(status.CronReport(**entry) for entry in data.get("cron", ())),
    }
    return status.ServiceReport(**{**data, **changed})


def _crash(data: dict[str, Any] | None) -> Crash | None:
    return Crash(**{**data, "kind": Kind(data["kind"]), "lines": tuple(data["lines"])}) if data else None
