"""`/v1/services/:id/volumes`: which there are, their content out and in, and every way in which that is refused."""

import dataclasses
import errno
import gzip
import hashlib
import http.client
import io
import tarfile

import pytest

from control_plane.domain import values
from tests import api_fixtures

ABLE = {"capabilities": {"volumes": "any", "processes": "any"}}
VOLUMES = [{"name": "data", "mount": "data"}, {"name": "my-log", "mount": "var/log"}]
APP = {**api_fixtures.NODE_APP, "volumes": VOLUMES}
ARCHIVE = "/v1/services/my-app/volumes/data/archive"
GZIP = {"Content-Type": "application/gzip"}


@pytest.fixture
def plane_and_client():
    with api_fixtures.control_plane() as pair:
        pair[0].connect(**ABLE)
        yield pair


@pytest.fixture
def plane(plane_and_client):
    return plane_and_client[0]


@pytest.fixture
def client(plane_and_client):
    return plane_and_client[1]


@pytest.fixture
def service(plane, client):
    """A deployment with two volumes, live; its instance answers."""
    assert client.post("/v1/deployments", APP).status == 201
    plane.report("my-app")
    plane.runs.connect(plane.instance.id)
    return client.get("/v1/services/my-app").json["id"]


def packed(name: str = "file", data: bytes = b"x") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), mtime=0)


def stopped(plane, client) -> None:
    """The service is stopped, and its instance has said so."""
    client.post("/v1/services/my-app/stop")

    async def said() -> None:
        async with plane.store.write() as tx:
            found = await tx.find_service("my-app")
            await tx.update_service(
                dataclasses.replace(found, observed=dataclasses.replace(found.observed, processes=(), live_release=0))
            )

    plane.loop.run(said())


def restore(client, data: bytes, path: str = ARCHIVE, **headers: str):
    return client.request("PUT", path, data, {**GZIP, **headers})


def audited(client) -> list[tuple[str, str]]:
    found = client.get("/v1/audit").json["data"]
    return [(one["action"], one["summary"]) for one in found if one["action"].startswith("volume.")]


def test_volumes_are_declared_kept_shown_and_replaced(plane, client):
    made = client.post("/v1/deployments", APP).json
    assert (made["volumes"], made["sources"]["volumes"]) == (VOLUMES, "given")
    assert client.get("/v1/deployments/my-app/releases/1").json["config"]["volumes"] == VOLUMES
    plan = client.request("PUT", "/v1/deployments/my-app?dry_run=true", {"volumes": VOLUMES[:1]}).json
    assert plan["changes"][0]["data"]["changes"] == [
        {"field": "volumes", "from": {"data": "data", "my-log": "var/log"}, "to": {"data": "data"}}
    ]
    assert client.put("/v1/deployments/my-app", {"volumes": VOLUMES}).json["release"] == 1
    changed = client.put("/v1/deployments/my-app", {"volumes": VOLUMES[:1]}).json
    assert (changed["volumes"], changed["release"]) == (VOLUMES[:1], 2)
    (difference,) = client.get("/v1/deployments/my-app/releases/1/diff/2").json["changes"]
    assert difference["field"] == "volumes"


def test_bad_volumes_are_all_named(client):
    bad = [{"name": "Data", "mount": "/data"}, {"name": "log"}]
    refused = client.post("/v1/deployments", {**APP, "volumes": bad, "replicas": 0})
    assert refused.status == 400
    named = {one["field"] for one in refused.json["error"]["details"]["errors"]}
    assert named == {"volumes.0.name", "volumes.0.mount", "volumes.1.mount", "replicas"}


def test_an_instance_that_keeps_none_is_named(plane, client):
    plane.connect(capabilities={})
    refused = client.post("/v1/deployments", APP)
    assert refused.status == 400
    assert "host-1 keeps no directories beside releases" in refused.text


def test_the_volumes_of_a_service_are_listed_with_their_variables(client, service):
    assert client.get(f"/v1/services/{service}/volumes").json == {
        "data": [
            {"name": "data", "mount": "data", "variable": "DPLOYR_VOLUME_DATA"},
            {"name": "my-log", "mount": "var/log", "variable": "DPLOYR_VOLUME_MY_LOG"},
        ],
        "next_cursor": None,
    }


def test_the_list_is_paged_as_every_other(client, service):
    first = client.get("/v1/services/my-app/volumes?limit=1").json
    assert [one["name"] for one in first["data"]] == ["data"]
    rest = client.get(f"/v1/services/my-app/volumes?limit=1&cursor={first['next_cursor']}").json
    assert ([one["name"] for one in rest["data"]], rest["next_cursor"]) == (["my-log"], None)
    for bad in ("x", "!", "AAAA"):
        assert client.get(f"/v1/services/my-app/volumes?cursor={bad}").status == 400


def test_volumes_that_the_source_asked_for_are_listed_too(plane, client):
    client.post("/v1/deployments", api_fixtures.NODE_APP)
    assert client.get("/v1/services/my-app/volumes").json["data"] == []
    row = values.Decided("volumes.db", "var/db", "file", "dployr.yaml")
    plane.loop.run(plane.change_release("my-app", 1, decided=(row,)))
    assert client.get("/v1/services/my-app/volumes").json["data"] == [
        {"name": "db", "mount": "var/db", "variable": "DPLOYR_VOLUME_DB"}
    ]
    client.put("/v1/deployments/my-app", {"volumes": []})
    assert client.get("/v1/services/my-app/volumes").json["data"] == []


def test_a_backup_is_what_the_instance_sends(plane, client, service):
    plane.runs.keep(service, "data", packed())
    answer = client.get(ARCHIVE)
    assert (answer.status, answer.body) == (200, packed())
    assert answer.headers["cache-control"] == "no-store"
    assert audited(client) == [("volume.backup", "back up the volume data of service my-app")]
    assert client.request("HEAD", ARCHIVE).status == 200


def test_what_is_not_there_or_away_has_no_backup(plane, client, service):
    assert client.get("/v1/services/my-app/volumes/other/archive").status == 404
    assert client.get("/v1/services/nothing/volumes/data/archive").status == 404
    plane.runs.refuse("it cannot be read: Permission denied: 'data/x'")
    refused = client.get(ARCHIVE)
    assert refused.status == 503
    assert "the backup of the volume data: it cannot be read: Permission denied" in refused.text
    plane.runs._connected.clear()
    assert client.get(ARCHIVE).status == 503


def test_a_backup_that_fails_on_the_way_breaks_the_answer_off(plane, client, service):
    plane.runs.keep(service, "data", packed()[:50])
    plane.runs.refuse("it is gone")
    connection = client.open("GET", ARCHIVE)
    response = connection.getresponse()
    assert response.status == 200
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()


def test_an_archive_is_restored_into_a_stopped_service(plane, client, service):
    stopped(plane, client)
    answer = restore(client, packed())
    assert (answer.status, answer.json) == (200, {"name": "data", "mount": "data", "variable": "DPLOYR_VOLUME_DATA"})
    digest = hashlib.sha256(packed()).hexdigest()
    assert plane.runs.restored == {(service, "data"): digest}
    assert plane.files.kept == {}
    assert ("volume.restore", "restore the volume data of service my-app") in audited(client)


def test_a_service_that_is_not_stopped_keeps_its_volume(plane, client, service):
    refused = restore(client, packed())
    assert refused.status == 409
    assert "is not stopped; stop it first, with POST /v1/services/" in refused.text
    client.post("/v1/services/my-app/stop")
    refused = restore(client, packed())
    assert refused.status == 409
    assert "is still stopping; wait for it" in refused.text
    assert plane.runs.restored == {}
    assert audited(client) == []
    assert plane.files.kept == {}


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [(b"x", GZIP, 400), (b"", GZIP, 400), (packed(), {"Content-Type": "application/json"}, 415)],
)
def test_a_body_that_is_no_archive_is_refused(plane, client, service, data, headers, status):
    stopped(plane, client)
    assert restore(client, data, **headers).status == status
    assert plane.runs.restored == {}


def test_an_archive_that_the_instance_refuses_is_told_in_its_words(plane, client, service):
    stopped(plane, client)
    plane.runs.refuse("cannot restore the volume: the entry '../x' leads upwards with ..")
    refused = restore(client, packed())
    assert refused.status == 400
    assert refused.json["error"]["message"] == "cannot restore the volume: the entry '../x' leads upwards with .."
    plane.runs.refuse("the disk is gone")
    assert restore(client, packed()).status == 503
    plane.runs.refuse("cannot restore a volume of svc: stop web.1 first", "start_failed", errno.EBUSY)
    refused = restore(client, packed())
    assert refused.status == 409
    assert "it is as it was: cannot restore a volume of svc: stop web.1 first" in refused.text
    assert plane.files.kept == {}


def test_nothing_is_restored_twice_with_one_key_nor_by_a_dry_run(plane, client, service):
    stopped(plane, client)
    dry = restore(client, packed(), f"{ARCHIVE}?dry_run=true")
    assert dry.json["changes"][0]["action"] == "volume.restore"
    assert plane.runs.restored == {}
    key = {"Idempotency-Key": "k"}
    assert restore(client, packed(), **key).status == 200
    plane.runs.restored.clear()
    assert restore(client, packed(), **key).status == 409
    assert restore(client, gzip.compress(b"other"), **key).status == 422
    assert plane.runs.restored == {}


def test_an_instance_may_have_the_archive_while_it_restores_it_and_only_then(plane, client, service):
    archive = plane.services.archives

    async def all_of(instance_id: str, digest: str) -> bytes:
        return b"".join([piece async for piece in await archive.open(instance_id, digest)])

    digest = archive.keep(io.BytesIO(packed()))
    with archive.lent(plane.instance.id, digest):
        assert plane.loop.run(all_of(plane.instance.id, digest)) == packed()
        with pytest.raises(Exception, match="wants it"):
            plane.loop.run(all_of("ins_other", digest))
    with pytest.raises(Exception, match="wants it"):
        plane.loop.run(all_of(plane.instance.id, digest))
    plane.loop.run(archive.used(digest))
