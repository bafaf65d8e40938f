"""The whole OpenAPI document against a real server with a signed-in user: no server error, no answer outside of it.

A few hundred cases usually, thousands under TEST_ALL.
"""

import collections
import contextlib
import itertools
import json
import os
import pathlib
from typing import Any

import pytest
import schemathesis
import structlog
from schemathesis import auths, engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from control_plane import errors
from control_plane.domain import values
from control_plane.web import on_loop
from tests import api_fixtures

WHOLE = bool(os.environ.get("TEST_ALL"))
LEAST = 5000 if WHOLE else 200
LIMITS = {"requests_per_hour": 10_000_000, "anonymous_per_hour": 10_000_000, "logins_per_minute": 1_000_000}
# What a schema cannot say (that a name exists, the grammar of a field, which fields go together) is a 400 or 422, and the
# example of an ETag is not the object's own.
REFUSED_BY_RULES = ["2xx", "400", "401", "403", "404", "409", "412", "422", "503"]
CHECKS = {
    "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "503"]},  # Report looks at each 503
    "positive_data_acceptance": {"expected-statuses": REFUSED_BY_RULES},
    # a stale If-Match is told before the fields are looked at
    "negative_data_rejection": {
        "expected-statuses": ["400", "401", "403", "404", "405", "409", "412", "415", "422", "503"]
    },
}


@pytest.fixture
def quiet():
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.configure(**before)


@pytest.fixture
def brief_streams(monkeypatch):
    """Every stream ends in good order as soon as it began: none of them has an end of its own."""
    original = on_loop.pump

    async def brief(stream, receive, send, ending):
        ending.set()
        await original(stream, receive, send, ending)

    monkeypatch.setattr(on_loop, "pump", brief)


@pytest.fixture
def running(tmp_path: pathlib.Path, quiet, brief_streams):
    with api_fixtures.control_plane(database=tmp_path / "db", **LIMITS) as (plane, client):
        client.post("/v1/deployments", api_fixtures.NODE_APP)
        yield plane, client


def configured(port: int, seed: int, phases: dict[str, object], cases: int) -> SchemathesisConfig:
    config: dict[str, object] = {
        "seed": seed,
        "base-url": f"http://127.0.0.1:{port}",
        "continue-on-failure": True,
        "request-timeout": 20,
        "max-stream-events": 10,
        "generation": {"max-examples": cases, "database": "none", "no-shrink": True},
        "suppress-health-check": ["all"],
        "warnings": False,
        "cache": {"enabled": False},
        "checks": CHECKS,
        "phases": phases,
    }
    return SchemathesisConfig.from_dict(config)


class Report:
    """What a run did: how many cases, which answers, which faults."""

    def __init__(self) -> None:
        self.cases = 0
        self.statuses: collections.Counter[int] = collections.Counter()
        self.faults: list[str] = []

    def take(self, event: events.EngineEvent) -> None:
        if isinstance(event, events.ScenarioFinished):
            self._take_scenario(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            self.faults.append(str(event.info if isinstance(event, events.NonFatalError) else event.exception))

    def _take_scenario(self, event: events.ScenarioFinished) -> None:
        self.cases += len(event.recorder.cases)
        for interaction in event.recorder.interactions.values():
            if interaction.response is not None:
                self.statuses[interaction.response.status_code] += 1
                if interaction.response.status_code == 503:
                    self._take_unavailable(event.recorder.label, interaction.response)
        for checks in event.recorder.checks.values():
            for check in checks:
                if check.failure_info is not None and not _is_known(check.failure_info):
                    failure = check.failure_info.failure
                    curl = check.failure_info.code_sample
                    self.faults.append(
                        f"{event.recorder.label}: {failure.title}: {failure.message[:600]}\n  {curl[:600]}"
                    )

    def _take_unavailable(self, label: str, response: Any) -> None:
        """Only an instance that is away or the hub, which is not here, may make something unavailable."""
        message = json.loads(response.content)["error"]["message"]
        if "instance" not in message and "hub" not in message:
            self.faults.append(f"{label}: {response.content[:300]!r}")


def _is_known(info: Any) -> bool:
    """What docs/reference/conventions.md says of answers below the application, and of twins.

    A request that is no HTTP/1.1 (here: of an unknown transfer coding) is answered without our headers. A literal path that is
    an id too has the methods of both, which are two paths in the document.
    """
    below = "Missing required response headers" in info.failure.title and "-H 'transfer-encoding:" in info.code_sample
    return below or "Undocumented methods advertised" in info.failure.message


def keep_alive(plane) -> None:
    """What an agent does: the instance stays online, and measures. A case may have removed it."""
    instances = plane.services.instances
    with contextlib.suppress(errors.DployrError):
        plane.loop.run(instances.connected(plane.instance.id, "0.1.0", "boot", {"os": "Debian", "cpus": 2}))
        sample = values.Sample(plane.instance.id, 1_700_000_000.0, {"load1": 0.5}, "dployr_load1 0.5\n")
        plane.loop.run(instances.record_sample(plane.instance.id, sample))


def run(plane, client, seed: int, phases: dict[str, object], cases: int) -> Report:
    document = client.get("/v1/openapi.json").json
    schema = schemathesis.openapi.from_dict(document, config=configured(client.port, seed, phases, cases))

    @schema.auth(refresh_interval=None)
    class FreshToken:
        """A new one for each case: many cases end a session."""

        def get(self, case: schemathesis.Case, context: auths.AuthContext) -> str:
            return plane.token()

        def set(self, case: schemathesis.Case, data: str, context: auths.AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    report = Report()
    for event in engine.from_schema(schema).execute():
        report.take(event)
        if isinstance(event, events.ScenarioStarted):
            keep_alive(plane)
    return report


def only(phase: str) -> dict[str, object]:
    return {name: {"enabled": name == phase} for name in ("examples", "coverage", "fuzzing", "stateful")}


@pytest.mark.timeout(3000)
@pytest.mark.filterwarnings("default")
def test_no_answer_is_outside_of_the_document(running):
    plane, client = running
    document = client.get("/v1/openapi.json").json
    operations = sum(len(found) for found in document["paths"].values())
    share = max(2, (LEAST + 40) // operations)
    total, faults = 0, []
    plan = [("examples", 1), ("coverage", 1), ("stateful", 1)] if WHOLE else [("examples", 1)]
    for phase, seed in itertools.chain(plan, (("fuzzing", seed) for seed in itertools.count(1))):
        report = run(plane, client, seed, only(phase), share if phase == "fuzzing" else 20)
        total += report.cases
        faults += [fault for fault in report.faults if fault not in faults]
        assert report.statuses[200] > 0, report.statuses
        assert api_fixtures.Client(client.port, plane.token()).get("/v1/auth/me").status == 200  # it was not locked out
        if phase == "fuzzing" and total >= LEAST:
            break
    assert not faults, f"{len(faults)} faults in {total} cases:\n" + "\n".join(faults[:15])
