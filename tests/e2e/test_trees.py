"""Applications that say by themselves what they are: deployed by the whole product with nothing asked for but where they are."""

import functools
import shutil

import pytest

from tests import trees
from tests.waiting import wait_until

REACHABLE = functools.lru_cache(trees.reachable)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("tree", trees.chosen())
def test_a_source_is_deployed_by_what_it_is(platform, repository, tree):
    for program in tree.needs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if tree.registry and not REACHABLE(tree.registry):
        pytest.skip(f"the registry of {tree.registry} cannot be reached")
    trees.write(tree, repository.path)
    repository.commit()
    made = platform.call(
        "POST", "/v1/deployments", {"name": tree.name, "source": "remote", "remote": repository.as_uri()}
    )
    domain = platform.route(tree.name, made["service_id"])
    found = platform.settled(tree.name, 1, timeout=400)
    assert found["status"] == "running", (found["status_reason"], build_log(platform, tree.name))
    platform.says(domain, lambda body: tree.says in body)
    decided = {row["field"]: row["value"] for row in found["decided"]}
    assert {name: decided.get(name) for name in tree.decided} == tree.decided
    assert found["sources"]["runtime"] == "detected"
    release = platform.call("GET", f"/v1/deployments/{tree.name}/releases/1")
    assert release["config"]["decided"] == found["decided"]
    platform.call("DELETE", f"/v1/deployments/{tree.name}")


def test_the_manifest_is_used_and_the_request_wins_over_it(platform, repository):
    page = "require('http').createServer((q, r) => r.end(process.env.WHO)).listen(process.env.PORT)"
    manifest = "runtime: node\nrun: {command: node app.js}\nenv: {WHO: the file}\nhealth_check: {path: /}\n"
    repository.commit(app__js=page, dployr__yaml=manifest)
    found, domain = platform.live("declared", repository)
    assert platform.get(domain) == (200, "the file")
    sources = found["sources"]
    assert [sources[name] for name in ("runtime", "run_cmd", "env", "health_check", "port", "replicas")] == [
        *("file", "file", "file", "file", "given", "default")
    ]
    found = platform.put("declared", env={"WHO": "the request"})
    platform.says(domain, lambda body: body == "the request")
    assert found["sources"]["env"] == "given"


def test_a_manifest_that_cannot_be_used_fails_the_release_and_names_the_field(platform, repository):
    repository.commit(app__js="1", dployr__yaml="run_cmd: node app.js\nprot: 80\n")
    platform.deploy("misspelt", repository)
    found = platform.settled("misspelt", 1)
    assert found["status"] == "failed"
    assert found["status_reason"] == "cannot use dployr.yaml: prot: unknown field; did you mean port?"


def test_an_empty_source_is_told_what_to_do(platform, repository):
    repository.commit(notes="nothing here")
    platform.deploy("unknown", repository)
    found = platform.settled("unknown", 1)
    assert "cannot tell what the source is: set runtime" in found["status_reason"]


def build_log(platform, name: str) -> list[str]:
    answer = platform.call("GET", f"/v1/deployments/{name}/releases/1/logs")
    return [line["line"] for line in answer["data"]][-30:]


def test_a_version_past_its_end_of_life_is_told_in_the_build_log(platform, repository):
    if not REACHABLE("npm"):
        pytest.skip("the registry of npm cannot be reached")
    repository.commit(server__js="require('http').createServer((q, r) => r.end('x')).listen(process.env.PORT)")
    platform.live("old", repository, runtime="nodejs", version="18")
    told = "warning: nodejs 18 has had no security fixes since 2025-04-30"
    wait_until(lambda: any(told in line for line in build_log(platform, "old")), 20, "the warning")
