"""Volumes as they are declared: in a request, in the manifest of a source, and on their way to the agent."""

import dataclasses

import pytest

from control_plane import errors
from control_plane.api import declared, models_config
from control_plane.domain import abilities, deployment, differences, values, volumes
from control_plane.hub import wire as hub_wire
from control_plane.store import configs
from control_plane.store.sealing import Keyring
from detection import manifest, merge
from node_agent.builder.manifest import build_key
from node_agent.model import decided, spec, volume
from node_agent.session import wire
from node_agent.state import codec
from protos import agent_pb2 as pb
from tests import builders
from tests.builder_fixtures import a_release
from tests.hub_fixtures import SERVICE, a_wish

ABLE = dataclasses.replace(abilities.Abilities(name="host-1"), volumes=True)
DATA = {"name": "data", "mount": "data"}


def refused(*given, able=ABLE, **changes):
    with pytest.raises(errors.InvalidError) as caught:
        deployment.validated(builders.some_fields(volumes=given, **changes), able=able)
    details = caught.value.details
    return {problem["field"]: problem["issue"] for problem in details.get("errors", [details])}


def accepted(*given, **changes):
    return deployment.validated(builders.some_fields(volumes=given, **changes), able=ABLE)


def test_volumes_are_kept_by_their_names_with_one_spelling_of_each_mount():
    config = accepted({"name": "uploads", "mount": "./public//uploads/"}, DATA)
    assert config.volumes == (("data", "data"), ("uploads", "public/uploads"))
    assert models_config.fields_of(config, ())["volumes"][0] == models_config.VolumeShape(name="data", mount="data")


@pytest.mark.parametrize(
    ("bad", "field", "words"),
    [
        ({"mount": "data"}, "volumes.0.name", "is required"),
        ({"name": "data"}, "volumes.0.mount", "is required"),
        ({"name": "Data", "mount": "data"}, "volumes.0.name", "must be a letter"),
        ({"name": "1", "mount": "data"}, "volumes.0.name", "must be a letter"),
        ({"name": "data", "mount": "/srv/data"}, "volumes.0.mount", "an absolute path would be the host's"),
        ({"name": "data", "mount": "../data"}, "volumes.0.mount", "inside the app's working directory"),
        ({"name": "data", "mount": "a/../../b"}, "volumes.0.mount", "inside the app's working directory"),
        ({"name": "data", "mount": "."}, "volumes.0.mount", "not that one itself"),
        ({"name": "data", "mount": "a/.."}, "volumes.0.mount", "not that one itself"),
        ({"name": "data", "mount": ""}, "volumes.0.mount", "not that one itself"),
        ({"name": "data", "mount": "a\nb"}, "volumes.0.mount", "characters that are not allowed"),
        ({"name": "data", "mount": 7}, "volumes.0.mount", "must be a string"),
        ({"name": 7, "mount": "data"}, "volumes.0.name", "must be a letter"),
        ({**DATA, "size": "1G"}, "volumes.0.size", "unknown field"),
    ],
)
def test_a_bad_volume_is_refused_by_its_place_in_the_list(bad, field, words):
    found = refused(bad)
    assert list(found) == [field]
    assert words in found[field]


def test_volumes_must_be_apart_and_few():
    assert "twice" in refused(DATA, {"name": "data", "mount": "other"})["volumes.1.name"]
    assert "volume data" in refused(DATA, {"name": "inner", "mount": "data/inner"})["volumes.1.mount"]
    assert "volume inner" in refused({"name": "inner", "mount": "data/inner"}, DATA)["volumes.1.mount"]
    accepted(DATA, {"name": "other", "mount": "data2"})
    many = [{"name": f"v{at}", "mount": f"v{at}"} for at in range(volumes.MAX_VOLUMES + 1)]
    assert refused(*many) == {"volumes": "must be at most 10"}


def test_a_static_site_and_an_instance_that_keeps_none_refuse_volumes():
    assert "static site" in refused(DATA, runtime="static", run_cmd="", port=None)["volumes"]
    assert "host-1" in refused(DATA, able=abilities.Abilities(name="host-1"))["volumes"]
    assert abilities.of(builders.an_instance(facts={"capabilities": {"volumes": "any"}})).volumes


def test_a_change_replaces_all_volumes_and_the_difference_shows_them():
    old = accepted(DATA)
    same = deployment.merged("my-app", "prj", old, deployment.DeploymentChanges(branch="next"))
    assert deployment.validated(same, able=ABLE).volumes == old.volumes
    changes = deployment.DeploymentChanges(volumes=[{"name": "cache", "mount": "var/cache"}])
    new = deployment.validated(deployment.merged("my-app", "prj", old, changes), able=ABLE)
    assert new.volumes == (("cache", "var/cache"),)
    assert {"field": "volumes", "from": {"data": "data"}, "to": {"cache": "var/cache"}} in differences.of_configs(
        old, new
    )
    none = deployment.validated(
        deployment.merged("my-app", "prj", old, deployment.DeploymentChanges(volumes=[])), able=ABLE
    )
    assert none.volumes == ()
    assert deployment.needs_release(old, none)


def test_a_request_is_judged_whole_also_when_volumes_cannot_be_read():
    with pytest.raises(errors.InvalidError) as caught:
        declared.DeploymentUpdate.model_validate({"volumes": {"data": "data"}, "branch": "..", "replicas": 0})
    assert [one["field"] for one in caught.value.details["errors"]] == ["volumes", "branch", "replicas"]


def test_a_stored_configuration_has_its_volumes_and_an_old_one_none(tmp_path):
    keys = Keyring.load_or_create(tmp_path / "keys")
    config = accepted(DATA)
    document = configs.document_of(config, keys, "t|a|c")
    assert configs.config_of(document, keys, "t|a|c").volumes == (("data", "data"),)
    del document["volumes"]
    assert configs.config_of(document, keys, "t|a|c").volumes == ()


def test_volumes_come_over_the_wire_and_through_the_journal():
    wish = a_wish()
    config = dataclasses.replace(wish.release.config, volumes=(("data", "data"), ("log", "var/log")))
    sent = hub_wire.desired(dataclasses.replace(wish, release=dataclasses.replace(wish.release, config=config))).desired
    read = wire.wish(sent).release
    assert read.volumes == config.volumes
    assert codec.load_release(codec.dump(read)) == read


@pytest.mark.parametrize(
    "bad",
    [
        [("../x", "data")],
        [("data", "../data")],
        [("data", "/data")],
        [("data", "a/./b")],
        [("data", "")],
        [("data", "a\0b")],
        [("data", "a"), ("data", "b")],
        [("data", "a"), ("other", "a/b")],
        [(f"v{at}", f"v{at}") for at in range(11)],
    ],
)
def test_a_wish_with_volumes_that_cannot_be_meant_is_ignored(bad):
    state = hub_wire.desired(a_wish()).desired
    state.release.volumes.extend(pb.Volume(name=name, mount=mount) for name, mount in bad)
    assert not volume.are_good(bad)
    assert wire.wish(state) is None


RUN = "run_" + "0" * 26


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({}, True),
        ({"archive": "a" * 64}, True),
        ({"archive": "../x"}, False),
        ({"archive": "A" * 64}, False),
        ({"volume": "../x"}, False),
        ({"volume": ""}, False),
        ({"volume": ".data.new"}, False),
        ({"run_id": "x"}, False),
        ({"service_id": "../x"}, False),
    ],
)
def test_a_volume_request_that_cannot_be_meant_is_not_begun(changes, meant):
    request = pb.VolumeRequest(**{"run_id": RUN, "service_id": SERVICE, "volume": "data", "timeout_s": 1.0, **changes})
    assert wire.is_meant(request) is meant


MANIFEST = """
runtime: node
volumes:
  - {name: uploads, mount: public/uploads}
  - {name: data, mount: ./data}
"""


def rows(release):
    said = manifest.parse({"dployr.yaml": MANIFEST})
    return decided.rows_of(merge.decide({}, said, decided.asked(release)), said)


def test_a_manifest_names_volumes_and_a_request_replaces_all_of_them():
    asked = a_release(runtime=spec.Runtime.DETECT)
    assert decided.effective(asked, rows(asked)).volumes == (("data", "data"), ("uploads", "public/uploads"))
    given = dataclasses.replace(asked, volumes=(("db", "db"),), given=("volumes",))
    assert decided.effective(given, rows(given)).volumes == (("db", "db"),)
    none = dataclasses.replace(asked, given=("volumes",))
    assert decided.effective(none, rows(none)).volumes == ()


@pytest.mark.parametrize(
    "written",
    [
        "volumes: data\n",
        "volumes: {data: data}\n",
        "volumes: [data]\n",
        "volumes: [{name: data}]\n",
        "volumes: [{name: Data, mount: data}]\n",
        "volumes: [{name: data, mount: /data}]\n",
        "volumes: [{name: data, mount: ../data}]\n",
        "volumes: [{name: data, mount: .}]\n",
        "volumes: [{name: data, mount: a}, {name: data, mount: b}]\n",
        "volumes: [{name: data, mount: a}, {name: other, mount: a/b}]\n",
    ],
)
def test_a_manifest_with_bad_volumes_names_the_field(written):
    with pytest.raises(manifest.ManifestError, match=r"dployr\.yaml: volumes: "):
        manifest.parse({"dployr.yaml": written})


def test_a_build_is_used_again_unless_volumes_come_where_something_was():
    without, with_one = a_release(), a_release(volumes=(("data", "data"),))
    assert build_key(without, "c") != build_key(with_one, "c")
    renamed = a_release(volumes=(("db", "data"),))
    assert build_key(with_one, "c") == build_key(renamed, "c")


def test_both_ends_give_an_app_the_same_variable():
    for name in ("data", "a-b", "v1"):
        assert volume.variable(name) == volumes.variable(name)
    assert volume.variable("my-data") == "DPLOYR_VOLUME_MY_DATA"


def test_the_release_shows_volumes_that_its_source_decided():
    row = values.Decided("volumes.data", "data", "file", "dployr.yaml")
    fields = models_config.fields_of(builders.a_config(), (row,))
    assert fields["sources"]["volumes"] == "file"
