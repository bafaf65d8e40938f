"""The fields that depend on what an instance can do: limits, strategies, processes, sources, runtimes; and secrets."""

import pytest

from control_plane import errors
from control_plane.domain import abilities, deployment, resources, strategy, values
from control_plane.domain.deployment import DeploymentChanges
from node_agent.model import process
from tests import builders

ABLE = abilities.Abilities(
    name="host-1",
    replicas=4,
    process_replicas=10,
    detects=abilities.DETECTED,
    limits=frozenset({"memory", "cpu"}),
    strategies=("rolling", "recreate", "canary"),
    sources=("remote", "local"),
    health_checks=("http", "tcp", "command"),
    processes=True,
)


def accepted(able=ABLE, **changes):
    return deployment.validated(builders.some_fields(**changes), able=able)


def refused(able=ABLE, **changes):
    with pytest.raises(errors.InvalidError) as caught:
        accepted(able, **changes)
    details = caught.value.details
    return {problem["field"]: problem for problem in details.get("errors", [details])}


def test_everything_that_an_instance_can_do_is_taken():
    config = accepted(
        replicas=3,
        resources={"memory": "512M", "cpu": 0.5, "strict": True},
        strategy={"kind": "canary", "weight": 5, "steps": [25, 50], "interval": "2m"},
        processes={"worker": " python worker.py "},
        secrets={"TOKEN": "x"},
        labels={"team": "web"},
        git_token="ghp_x",
        health_check={"command": "curl -f localhost"},
    )
    assert config.replicas == 3
    assert config.resources == values.Resources(memory_bytes=512 << 20, cpu=0.5, strict=True)
    assert config.strategy == values.Strategy("canary", 5, (25, 50), 120.0)
    assert config.processes == (("worker", "python worker.py"),)
    assert values.Variable("TOKEN", "x", secret=True) in config.env
    assert config.labels == (("team", "web"),)
    assert (config.health_check.kind, config.health_check.command) == ("command", "curl -f localhost")


def test_what_an_instance_cannot_do_is_refused_by_its_field_with_what_it_can():
    bad = refused(
        abilities.Abilities(name="host-1"),
        replicas=2,
        strategy="recreate",
        processes={"worker": "x"},
        health_check={"kind": "command", "command": "true"},
        resources={"memory": "1G", "strict": True},
    )
    assert set(bad) == {"replicas", "strategy", "processes", "health_check.kind", "resources.memory"}
    assert bad["replicas"]["supported"] == [1]
    assert bad["strategy"]["supported"] == ["rolling"]
    assert "host-1" in bad["replicas"]["issue"]


def test_limits_that_need_not_be_enforced_are_taken_and_told():
    config = accepted(abilities.Abilities(), resources={"memory": "1G", "pids": 10})
    assert abilities.unenforced(abilities.Abilities(), config.resources) == ["memory", "pids"]
    assert abilities.unenforced(ABLE, config.resources) == ["pids"]


@pytest.mark.parametrize(
    ("given", "size"), [("512M", 512 << 20), ("1.5G", 3 << 29), ("2Gi", 2 << 30), ("4MiB", 4 << 20), (4096, 4096)]
)
def test_sizes_are_bytes_or_powers_of_1024(given, size):
    assert resources.size(given) == size


@pytest.mark.parametrize("given", ["", "M", "-1M", "1 M", "1m", "1e9", True, 1.5, None, "9" * 16])
def test_what_is_no_size_is_none(given):
    assert resources.size(given) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory", "1M"),
        ("memory", -1),
        ("disk", "2000T"),
        ("cpu", 0),
        ("cpu", float("inf")),
        ("cpu", float("nan")),
        ("cpu", 10**400),
        ("cpu", "1"),
        ("pids", 0),
        ("pids", 1.5),
        ("strict", "yes"),
        ("gpu", 1),
    ],
)
def test_a_bad_limit_is_refused(key, value):
    assert set(refused(resources={key: value})) == {f"resources.{key}"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("blue-green", "strategy"),
        ({"kind": "blue"}, "strategy.kind"),
        ({"kind": "rolling", "weight": 5}, "strategy.weight"),
        ({"kind": "canary", "weight": 100}, "strategy.weight"),
        ({"kind": "canary", "steps": [50, 25]}, "strategy.steps"),
        ({"kind": "canary", "steps": "all"}, "strategy.steps"),
        ({"kind": "canary", "interval": "soon"}, "strategy.interval"),
        ({"kind": "canary", "speed": 1}, "strategy.speed"),
    ],
)
def test_a_bad_strategy_is_refused(given, field):
    assert field in refused(strategy=given)


@pytest.mark.parametrize("given", ["rolling", "recreate", {"kind": "canary"}, {"weight": 20, "steps": [40]}])
def test_a_strategy_is_declared_as_it_is_read(given):
    parsed = strategy.parsed(given)
    assert strategy.parsed(strategy.declared(parsed)) == parsed


@pytest.mark.parametrize("name", ["web", "Worker", "1st", "a_b", "x" * 33])
def test_a_bad_name_of_a_process_is_refused(name):
    assert list(refused(processes={name: "x"})) == [f"processes.{name}"]


@pytest.mark.parametrize(
    ("name", "count", "issue"),
    [
        ("web", 2, "is replicas; give it there"),
        ("release", 2, "runs once, before the release starts; leave its replicas out"),
        ("A b", 2, "the name must be a letter, then up to 31 of a-z, 0-9 and -"),
        ("w", -1, "must be 0 to 100"),
        ("w", 101, "must be 0 to 100"),
        ("w", 11, "instance host-1 runs at most 10 of a process"),
    ],
)
def test_replicas_of_a_process_that_cannot_be_are_refused_by_its_name(name, count, issue):
    assert refused(process_replicas={name: count})[f"process_replicas.{name}"]["issue"] == issue


def test_replicas_of_a_process_need_an_agent_that_knows_of_them_and_a_source_that_may_tell_the_command():
    assert accepted(process_replicas={"of-procfile": 2, "w": 0}).process_replicas == (("of-procfile", 2), ("w", 0))
    old = abilities.Abilities(name="host-1", processes=True)
    bad = refused(old, processes={"v": "x", "w": "x"}, process_replicas={"u": 1, "v": 0, "w": 2})
    assert {name: one["issue"] for name, one in bad.items()} == {
        "process_replicas.u": "is no process of the deployment",
        "process_replicas.v": "instance host-1 runs at most 1 of a process",
        "process_replicas.w": "instance host-1 runs at most 1 of a process",
    }
    assert accepted(old, processes={"w": "x"}, process_replicas={"w": 1}).process_replicas == (("w", 1),)
    assert list(refused(process_replicas=dict.fromkeys([f"w{n}" for n in range(33)], 1))) == ["process_replicas"]


def test_with_a_process_its_replicas_are_deleted_and_a_new_command_keeps_them():
    old = accepted(processes={"v": "x", "w": "x"}, process_replicas={"v": 2, "w": 3})
    assert merge(old, processes={"w": "y"}).process_replicas == (("v", 2), ("w", 3))
    assert merge(old, processes={"w": None}).process_replicas == (("v", 2),)
    assert merge(old, process_replicas={"w": None, "v": 5}).process_replicas == (("v", 5),)
    assert merge(old, processes={"w": None}, process_replicas={"w": 1}).process_replicas == (("v", 2), ("w", 1))
    assert merge(merge(old)) == old


def test_replicas_of_a_process_that_is_nowhere_are_refused_once_its_source_is_known():
    config = accepted(processes={"v": "x"}, process_replicas={"v": 2, "w": 3})
    row = values.Decided("processes.w", "y", "detected", "Procfile")
    deployment.demand_processes(config, ())
    deployment.demand_processes(config, (row,))
    with pytest.raises(errors.InvalidError) as caught:
        deployment.demand_processes(config, (values.Decided("run_cmd", "y", "detected", "Procfile"),))
    assert (caught.value.details["field"], caught.value.details["supported"]) == ("process_replicas.w", ["v"])


def test_a_key_is_not_in_env_and_secrets_at_once():
    assert set(refused(env={"A": "1"}, secrets={"A": "2"})) == {"secrets.A"}
    old = accepted(env={}, secrets={"A": "1"})
    with pytest.raises(errors.InvalidError):
        deployment.validated(deployment.merged("app", "prj", old, DeploymentChanges(env={"A": "2"})), able=ABLE)
    moved = deployment.merged("app", "prj", old, DeploymentChanges(env={"A": "2"}, secrets={"A": None}))
    assert deployment.validated(moved, able=ABLE).env == (values.Variable("A", "2"),)


def test_no_secret_is_in_the_words_of_a_refusal():
    with pytest.raises(errors.InvalidError) as caught:
        accepted(secrets={"A": "hush\0hush", "PORT": "hush"}, git_token="hush hush")
    assert "hush" not in f"{caught.value.message} {caught.value.details}"


def test_a_local_source_takes_nothing_of_git():
    assert accepted(source="local", remote="").source == "local"
    bad = refused(source="local", commit="abcdef1", git_token="x")
    assert set(bad) == {"remote", "commit", "git_token"}


def test_another_source_forgets_the_repository_of_the_old_one():
    old = accepted(git_token="x", commit="abcdef1")
    changed = deployment.validated(deployment.merged("app", "prj", old, DeploymentChanges(source="local")), able=ABLE)
    assert (changed.source, changed.remote, changed.commit, changed.git_token) == ("local", "", "", "")


@pytest.mark.parametrize("source", ["image", "docker"])
def test_images_need_an_instance_that_runs_them(source):
    bad = refused(source=source)
    sentence = "needs an instance that can run images; instance host-1 cannot: "
    assert bad["source"]["issue"] == f"{sentence}it does not say that it can"
    said = an_able(capabilities={"images": "no: podman is not installed"})
    assert refused(said, source=source)["source"]["issue"] == f"{sentence}podman is not installed"
    assert bad["source"]["supported"] == ["remote", "local"]


def an_able(**facts):
    return abilities.of(builders.an_instance(facts=facts))


def test_more_runtimes_are_those_that_an_instance_has():
    able = an_able(runtimes={"go": "1.22.3,1.23.0", "nodejs": "20.11.1,26.0.0", "cobol": "1"})
    assert accepted(able, runtime="golang", version="1.22.3").runtime == "go"
    assert accepted(able, runtime="nodejs", version="26.0.0").version == "26.0.0"
    assert accepted(able, runtime="nodejs", version="18").version == "18"
    assert refused(able, runtime="go", version="1.19")["version"]["supported"] == ["1.22.3", "1.23.0"]
    assert "go" in refused(able, runtime="cobol", version="")["runtime"]["supported"]
    assert set(refused(an_able(), runtime="php", version="")) == {"runtime"}


def test_what_an_agent_says_of_itself_is_read_carefully():
    said = {"replicas": "many", "limits": "memory,magic", "strategies": "rolling, recreate", "sources": 3}
    able = an_able(capabilities=said, runtimes="none")
    assert (able.replicas, able.limits) == (1, frozenset({"memory"}))
    assert (able.strategies, able.sources) == (("rolling", "recreate"), ("remote",))
    assert an_able(capabilities="all").health_checks == ("http", "tcp")
    assert an_able(capabilities={"limits": "none", "processes": "any"}).processes


def merge(old, **changes):
    return deployment.validated(deployment.merged("app", "prj", old, DeploymentChanges(**changes)), able=ABLE)


def test_maps_merge_by_key_and_null_deletes():
    old = accepted(
        resources={"memory": "1G", "cpu": 1}, labels={"a": "1", "b": "2"}, processes={"w": "x"}, secrets={"S": "1"}
    )
    new = merge(old, resources={"cpu": None}, labels={"a": None}, processes={"v": "y"}, secrets={"T": "2"})
    assert new.resources == values.Resources(memory_bytes=1 << 30)
    assert new.labels == (("b", "2"),)
    assert dict(new.processes) == {"w": "x", "v": "y"}
    assert [one.key for one in new.env if one.secret] == ["S", "T"]
    assert merge(new) == new


def test_a_check_by_command_is_forgotten_with_its_kind():
    old = accepted(health_check={"command": "true"})
    assert merge(old, health_check={"kind": "tcp"}).health_check.command == ""
    assert merge(old, health_check={"path": "/up"}).health_check.kind == "http"
    assert merge(old, health_check={"interval": None}).health_check.kind == "command"
    assert set(refused(health_check={"kind": "command"})) == {"health_check.kind"}
    assert set(refused(health_check={"kind": "tcp", "command": "x"})) == {"health_check.command"}


def test_labels_and_description_need_no_release_and_the_rest_does():
    old = accepted()
    assert not deployment.needs_release(old, accepted(labels={"a": "1"}, description="x"))
    assert deployment.needs_release(old, accepted(replicas=2))


@pytest.mark.parametrize(
    ("field", "least", "less"),
    [("memory", process.LEAST_MEMORY, 1024), ("cpu", process.LEAST_CPU, 0.0001), ("pids", process.LEAST_PIDS, 1)],
)
def test_the_least_of_a_limit_is_what_a_host_can_start_a_program_within(field, least, less) -> None:
    assert resources.problems({field: least}) == []
    assert [found["field"] for found in resources.problems({field: less})] == [f"resources.{field}"]
    assert resources.problems({field: 0}), "no limit is null, not 0"
