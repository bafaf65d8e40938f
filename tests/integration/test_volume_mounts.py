"""Volumes in sealed releases: the links that lead to them, and what stands in their way."""

import os
import pathlib

import pytest

from node_agent.builder import trees
from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import Runtime
from tests.builder_fixtures import SERVICE, Bench


@pytest.fixture
async def bench(tmp_path):
    found = Bench(tmp_path)
    yield found
    await trees.delete(found.paths.root)


def release(bench, number=1, **changes):
    return bench.release(
        number, **{"runtime": Runtime.CUSTOM, "run_cmd": "./run", "volumes": (("data", "data"),), **changes}
    )


def leads_to(bench, place, name="data"):
    return os.path.realpath(place) == os.path.realpath(bench.paths.volume(SERVICE, name))


async def test_a_release_leads_to_the_volumes_of_its_service(bench):
    bench.repository.write({"app/run": "x"})
    volumes = (("data", "data"), ("deep", "public/files/up"))
    await bench.build(release(bench, working_dir="app", volumes=volumes))
    app = bench.tree() / "app"
    assert leads_to(bench, app / "data")
    assert leads_to(bench, app / "public/files/up", "deep")
    assert not (app / "data").readlink().is_absolute()
    assert await bench.left_over() == []


async def test_an_empty_directory_that_git_keeps_gives_way(bench):
    bench.repository.write({"run": "x", "data/.gitkeep": "", "log/.gitignore": "*\n"})
    await bench.build(release(bench, volumes=(("data", "data"), ("log", "log"))))
    assert leads_to(bench, bench.tree() / "data")
    assert leads_to(bench, bench.tree() / "log", "log")


@pytest.mark.parametrize(
    ("files", "mount", "words"),
    [
        ({"data/seed.json": "{}"}, "data", "something in data, such as seed.json"),
        ({"data/inner/.gitkeep": ""}, "data", "something in data, such as inner"),
        ({"data": "x"}, "data", "the source has a file data"),
        ({"data": pathlib.Path("real"), "real/x": ""}, "data", "the source has a link data"),
        ({"a": pathlib.Path("real"), "real/x": ""}, "a/data", "the source has a link a"),
        ({"a": "x"}, "a/b/c", "the source has a file a"),
    ],
)
async def test_what_stands_at_a_mount_fails_the_release_before_its_build(bench, files, mount, words):
    bench.repository.write({"run": "x", **files})
    with pytest.raises(ReleaseFailedError, match=words) as caught:
        await bench.build(release(bench, volumes=(("data", mount),), build_cmd="false"))
    assert caught.value.code == "volume_conflict"
    assert await bench.left_over() == []


async def test_what_a_build_leaves_at_a_mount_fails_the_release_too(bench):
    bench.repository.write({"run": "x"})
    with pytest.raises(ReleaseFailedError, match="such as made") as caught:
        await bench.build(release(bench, build_cmd="mkdir data && touch data/made"))
    assert caught.value.code == "volume_conflict"


async def test_a_link_of_the_source_to_where_volumes_are_is_refused_as_ever(bench):
    outside = pathlib.Path(os.path.relpath(bench.paths.volume(SERVICE, "data"), bench.tree()))
    bench.repository.write({"run": "x", "mine": outside})
    with pytest.raises(ReleaseFailedError, match="link mine leads out"):
        await bench.build(release(bench))


async def test_a_static_site_that_its_source_made_one_has_no_volumes(bench):
    bench.repository.write({"index.html": "x", "dployr.yaml": "volumes: [{name: data, mount: data}]\n"})
    with pytest.raises(ReleaseFailedError, match="static site") as caught:
        await bench.build(bench.release(runtime=Runtime.DETECT))
    assert caught.value.code == "volume_conflict"


async def test_a_build_that_is_used_again_leads_to_the_same_volume_and_takes_nothing_of_it_along(bench):
    bench.repository.write({"run": "x"})
    await bench.build(release(bench))
    volume = bench.paths.volume(SERVICE, "data")
    volume.mkdir(parents=True)
    (volume / "kept").write_text("kept")
    await bench.build(release(bench, 2, build_of=1))
    assert "used again" in bench.log(2)
    assert (bench.tree(2) / "data/kept").read_text() == "kept"
    assert leads_to(bench, bench.tree(2) / "data")
    await bench.build(release(bench, 3, volumes=()))
    assert not os.path.lexists(bench.tree(3) / "data")
    await bench.builder.prune(SERVICE, frozenset({3}))
    assert (volume / "kept").read_text() == "kept"
    await bench.builder.remove(SERVICE)
    assert not volume.exists()


async def test_a_manifest_may_ask_for_a_volume(bench):
    bench.repository.write(
        {"run": "x", "Procfile": "web: ./run\n", "dployr.yaml": "volumes: [{name: db, mount: db}]\n"}
    )
    artifact = await bench.build(bench.release(runtime=Runtime.CUSTOM))
    assert leads_to(bench, bench.tree() / "db", "db")
    assert ("volumes.db", "db", "file") in {(row.field, row.value, row.origin) for row in artifact.decided}
