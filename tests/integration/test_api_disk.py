"""`GET /v1/instances/:id/disk`: what the newest sample of the agent tells, with the names of the services that are there."""

import pytest

from control_plane.domain import values
from tests import api_fixtures

ELSEWHERE = "svc_01JD4Y2M6T3Q8W5R7X9ZABCDEF"
PARTS = {"releases": {"bytes": 5000, "entries": 30}, "logs": {"bytes": 10, "entries": 2}}


@pytest.fixture
def running():
    with api_fixtures.control_plane() as pair:
        yield pair


def record(plane, families):
    sample = values.Sample(plane.instance.id, 1_700_000_000.0, families, "")
    plane.loop.run(plane.services.instances.record_sample(plane.instance.id, sample))


def test_what_uses_the_disk_is_shown_by_service_and_by_what_it_is(running):
    plane, client = running
    app = client.post("/v1/deployments", api_fixtures.NODE_APP).json
    assert client.get("/v1/instances/host-1/disk").status == 503
    record(plane, {"load": [0.5]})
    assert "update the agent" in client.get("/v1/instances/host-1/disk").json["error"]["message"]
    services = {app["service_id"]: PARTS, ELSEWHERE: {"logs": {"bytes": 90_000, "entries": 1}}}
    space = {"total_bytes": 100_000, "free_bytes": 4000, "total_inodes": 50, "free_inodes": 7}
    shared = {"toolchains": {"bytes": 9, "entries": 2}}
    record(plane, {"disk_use": {**space, "measured_at": 1_699_999_990.0, "shared": shared, "services": services}})
    answer = client.get(f"/v1/instances/{plane.instance.id}/disk").json
    assert answer["space"] == {**space, "reserve_bytes": 0, "reserve_inodes": 0}
    assert (answer["time"], answer["measured_at"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:13:10.000Z")
    assert answer["shared"] == shared
    stranger, own = answer["services"]
    assert (stranger["id"], stranger["name"], stranger["bytes"]) == (ELSEWHERE, None, 90_000)
    assert (own["id"], own["name"], own["deployment_id"]) == (app["service_id"], app["name"], app["id"])
    assert (own["bytes"], own["entries"], own["parts"]) == (5010, 32, PARTS)


def test_an_instance_that_does_not_exist_is_a_404(running):
    assert running[1].get("/v1/instances/nowhere/disk").status == 404
