"""Values for tests: each builder gives a good one, keywords change what the test is about. And clocks that stand still."""

import dataclasses
import datetime
from typing import Any

from control_plane.domain import values
from control_plane.domain.deployment import DeploymentFields

START = datetime.datetime(2026, 11, 1, 12, 0, 0, tzinfo=datetime.UTC)
OPERATOR = values.Principal("usr_operator", "operator@example.com", operator=True)
NOBODY = values.Principal("usr_nobody", "nobody@example.com")


class StillClock:
    """Time moves when the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime.datetime:
        return START + datetime.timedelta(seconds=self.seconds)

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class CountingIds:
    """Ids that are well formed, and sort in the order in which they were made."""

    def __init__(self) -> None:
        self.count = 0

    def new(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}_{self.count:026d}"

    def secret(self, octets: int = 32) -> str:
        self.count += 1
        return f"{self.count:0{octets * 2}x}"


def an_id(prefix: str, number: int = 1) -> str:
    return f"{prefix}_{number:026d}"


def a_config(**changes: Any) -> values.Config:
    base = values.Config(
        source="remote",
        remote="https://git.example.com/team/app",
        branch="main",
        commit="",
        runtime="nodejs",
        version="20",
        build_cmd="npm install",
        run_cmd="npm start",
        working_dir="",
        static_dir="",
        port=3000,
        env=(values.Variable("A", "1"),),
        health_check=values.HealthCheck(),
    )
    return dataclasses.replace(base, **changes)


def some_fields(**changes: Any) -> DeploymentFields:
    """What a user declares for a new deployment."""
    base = DeploymentFields(
        name="app",
        remote="https://git.example.com/team/app",
        runtime="nodejs",
        version="20",
        build_cmd="npm install",
        run_cmd="npm start",
        port=3000,
    )
    return dataclasses.replace(base, **changes)


def a_project(**changes: Any) -> values.Project:
    return dataclasses.replace(values.Project(an_id("prj"), "default", "", START), **changes)


def a_user(**changes: Any) -> values.User:
    base = values.User(an_id("usr"), "operator@example.com", "$argon2id$", operator=True, created_at=START)
    return dataclasses.replace(base, **changes)


def an_instance(**changes: Any) -> values.Instance:
    base = values.Instance(
        id=an_id("ins"),
        name="host-1",
        epoch=1,
        online=True,
        last_seen=START,
        agent_version="0.1.0",
        boot_id="boot-1",
        facts={"memory_bytes": 1 << 30},
        created_at=START,
    )
    return dataclasses.replace(base, **changes)


def a_deployment(**changes: Any) -> values.Deployment:
    base = values.Deployment(
        id=an_id("dep"),
        project_id=an_id("prj"),
        name="app",
        service_id=an_id("svc"),
        config=a_config(),
        release=1,
        created_at=START,
        updated_at=START,
    )
    return dataclasses.replace(base, **changes)


def a_release(**changes: Any) -> values.Release:
    base = values.Release(
        id=an_id("rel"),
        deployment_id=an_id("dep"),
        number=1,
        config=a_config(),
        commit="",
        state="pending",
        reason="",
        message="",
        created_at=START,
        changed_at=START,
    )
    return dataclasses.replace(base, **changes)


def a_service(**changes: Any) -> values.Service:
    base = values.Service(
        id=an_id("svc"),
        deployment_id=an_id("dep"),
        project_id=an_id("prj"),
        name="app",
        instance_id=an_id("ins"),
        run=values.Run.RUNNING,
        restart=0,
        generation=1,
        acknowledged=0,
        observed=values.Observed(),
        created_at=START,
        updated_at=START,
    )
    return dataclasses.replace(base, **changes)


def a_route(**changes: Any) -> values.Route:
    base = values.Route(
        id=an_id("rte"),
        project_id=an_id("prj"),
        service_id=an_id("svc"),
        domain="app.example.com",
        path="/",
        port=3000,
        status="pending",
        message="",
        created_at=START,
    )
    return dataclasses.replace(base, **changes)


def a_process(**changes: Any) -> values.Process:
    return dataclasses.replace(values.Process("web.1", 1, "running", 4711, 20001, 1.5, 0, ""), **changes)


def a_report(generation: int = 1, **changes: Any) -> values.ServiceReport:
    """A running release 1, under `generation`."""
    base = values.ServiceReport(
        sequence=1,
        service_id=an_id("svc"),
        observed=values.Observed(generation, "running", "healthy", 1, "", (a_process(),)),
        releases=(values.ReleaseReport(1, "live", "", "", "a" * 40, 0.0),),
        routes=(),
        removed=False,
    )
    return dataclasses.replace(base, **changes)
