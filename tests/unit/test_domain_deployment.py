"""What may be declared, what is refused, and how a change merges."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.domain import deployment, grammar, values
from control_plane.domain.deployment import DeploymentChanges
from tests import builders

SHA = "0123456789abcdef0123456789abcdef01234567"


def refused_fields(fields, **options):
    with pytest.raises(errors.InvalidError) as caught:
        deployment.validated(fields, **options)
    details = caught.value.details
    assert details["field"]
    assert details["issue"]
    return [problem["field"] for problem in details.get("errors", [details])]


def test_a_declaration_becomes_a_config():
    config = deployment.validated(builders.some_fields(env={"A": "1"}, runtime="node", commit=SHA.upper()))
    assert config == builders.a_config(commit=SHA)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "-a"),
        ("name", "A"),
        ("name", "a" * 64),
        ("name", "a\n"),
        ("name", "a/b"),
        ("source", "image"),
        ("remote", ""),
        ("remote", "http://git.example.com/a"),
        ("remote", "https://user:secret@git.example.com/a"),
        ("remote", "https://git.example.com/a\n--upload-pack=x"),
        ("remote", "https://git.example.com"),
        ("remote", "https://git.example.com/a?x=$(id)"),
        ("remote", "ext::sh -c touch% x"),
        ("remote", "file:///etc"),
        ("remote", "--upload-pack=touch x;git-upload-pack"),
        ("remote", "git@github.com:user/repo"),
        ("branch", ""),
        ("branch", "--upload-pack=x"),
        ("branch", "a..b"),
        ("branch", "a b"),
        ("branch", "/a"),
        ("branch", "a/"),
        ("branch", "a//b"),
        ("branch", "a.lock"),
        ("branch", ".a"),
        ("branch", "a/.b"),
        ("branch", "main\n"),
        ("branch", "a" * 201),
        ("commit", "abc"),
        ("commit", "main"),
        ("commit", "-" + "a" * 39),
        ("runtime", ""),
        ("runtime", "cobol"),
        ("version", "9"),
        ("version", "20.x"),
        ("version", "20.1.2.3"),
        ("version", "20\n"),
        ("version", "020"),
        ("build_cmd", "a\0b"),
        ("build_cmd", "x" * 4097),
        ("run_cmd", ""),
        ("run_cmd", "  "),
        ("run_cmd", "a\x1b[2Jb"),
        ("working_dir", "/etc"),
        ("working_dir", "a/../../b"),
        ("working_dir", "a\nb"),
        ("static_dir", ".."),
        ("static_dir", "a;b"),
        ("static_dir", "${x}"),
        ("port", None),
        ("port", 0),
        ("port", 65536),
        ("port", -1),
        ("description", "x" * 1001),
        ("description", "a\0"),
    ],
)
def test_a_bad_value_is_refused_by_its_field(field, value):
    assert refused_fields(builders.some_fields(**{field: value})) == [field]


@pytest.mark.parametrize(
    "key", ["", "1A", "A-B", "A B", "A=B", "A\n", "PORT", "HOME", "PATH", "DPLOYR_X", "x" * 129, "ä"]
)
def test_a_bad_environment_key_is_refused(key):
    assert refused_fields(builders.some_fields(env={key: "1"})) == [f"env.{key[:128]}"]


@pytest.mark.parametrize("value", ["a\0", "\ud800", "x" * (grammar.MAX_ENV_VALUE + 1)])
def test_a_bad_environment_value_is_refused(value):
    assert refused_fields(builders.some_fields(env={"A": value})) == ["env.A"]


def test_an_environment_that_is_too_large_is_refused():
    assert refused_fields(builders.some_fields(env={f"K{n}": "x" * 32000 for n in range(5)})) == ["env"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "command"),
        ("path", "ready"),
        ("path", "/a\nb"),
        ("path", 3),
        ("interval", "soon"),
        ("interval", 0),
        ("timeout", "301s"),
        ("timeout", float("nan")),
        ("retries", 0),
        ("retries", True),
        ("retries", "2"),
        ("start_period", "2h"),
        ("colour", "blue"),
    ],
)
def test_a_bad_health_check_is_refused(key, value):
    assert refused_fields(builders.some_fields(health_check={key: value})) == [f"health_check.{key}"]


def test_a_health_check_takes_numbers_and_durations():
    check = {"path": "/ready?deep=1", "interval": "500ms", "timeout": 3, "retries": 4, "start_period": "2m"}
    config = deployment.validated(builders.some_fields(health_check=check))
    assert config.health_check == values.HealthCheck("http", "/ready?deep=1", 0.5, 3.0, 4, 120.0)


def test_every_problem_is_named_at_once():
    bad = builders.some_fields(name="A", port=0, branch="-x", env={"1": "x"})
    assert refused_fields(bad) == ["name", "branch", "port", "env.1"]


def test_an_unsupported_runtime_and_version_say_what_is_supported():
    for change, issue, example in (
        ({"runtime": "cobol"}, "Unsupported runtime", "python"),
        ({"version": "3000"}, "Unsupported runtime version", "22"),
    ):
        with pytest.raises(errors.InvalidError) as caught:
            deployment.validated(builders.some_fields(**change))
        assert caught.value.details["issue"] == issue
        assert example in caught.value.details["supported"]


@pytest.mark.parametrize(
    ("runtime", "version"),
    [
        ("nodejs", ""),
        ("nodejs", "22.11"),
        ("nodejs", "22.11.0"),
        ("python", "3.11"),
        ("python", "3.11.2"),
        ("static", ""),
    ],
)
def test_a_version_of_a_supported_line_is_taken(runtime, version):
    assert deployment.validated(builders.some_fields(runtime=runtime, version=version)).version == version


@pytest.mark.parametrize(
    ("runtime", "version"), [("python", "3"), ("python", "3.1"), ("static", "1"), ("nodejs", "201")]
)
def test_a_version_of_no_line_is_not(runtime, version):
    assert refused_fields(builders.some_fields(runtime=runtime, version=version)) == ["version"]


def test_a_static_site_needs_neither_command_nor_port():
    fields = builders.some_fields(runtime="static", version="", run_cmd="", port=None, static_dir="./public/")
    config = deployment.validated(fields)
    assert (config.run_cmd, config.static_dir) == ("", "public")
    assert 1 <= config.port <= 65535


def test_a_file_remote_is_taken_only_where_it_is_allowed():
    fields = builders.some_fields(remote="file:///srv/git/app.git")
    assert refused_fields(fields) == ["remote"]
    assert deployment.validated(fields, allow_file=True).remote == fields.remote
    assert refused_fields(builders.some_fields(remote="file:///srv/../etc"), allow_file=True) == ["remote"]
    assert refused_fields(builders.some_fields(remote="file://host/srv"), allow_file=True) == ["remote"]


def merge(changes, config=None):
    return deployment.validated(deployment.merged("app", "prj_1", config or builders.a_config(), changes))


def test_no_change_merges_to_the_same():
    assert merge(DeploymentChanges()) == builders.a_config()
    assert merge(DeploymentChanges(name="app", project="prj_1", version="20", env={"A": "1"})) == builders.a_config()


def test_only_the_given_fields_change():
    changed = merge(DeploymentChanges(version="22", env={"B": "2"}))
    assert changed == builders.a_config(version="22", env=(values.Variable("A", "1"), values.Variable("B", "2")))


def test_null_deletes_a_key_of_the_environment():
    assert merge(DeploymentChanges(env={"A": None, "NONE": None})).env == ()


def test_another_runtime_drops_the_version_of_the_old_one():
    assert merge(DeploymentChanges(runtime="python")).version == ""
    assert merge(DeploymentChanges(runtime="node")).version == "20"
    assert merge(DeploymentChanges(runtime="python", version="3.11")).version == "3.11"


def test_an_emptied_commit_goes_back_to_the_head_of_the_branch():
    assert merge(DeploymentChanges(commit=""), builders.a_config(commit=SHA)).commit == ""


def test_a_health_check_merges_by_key():
    old = builders.a_config(health_check=values.HealthCheck(timeout_s=9.0))
    assert merge(DeploymentChanges(health_check={"path": "/up"}), old).health_check == values.HealthCheck(
        kind="http", path="/up", timeout_s=9.0
    )


@pytest.mark.parametrize("field", ["name", "project"])
def test_name_and_project_cannot_be_changed(field):
    with pytest.raises(errors.InvalidError) as caught:
        merge(DeploymentChanges(**{field: "other"}))
    assert caught.value.details["field"] == field


def test_a_change_is_checked_like_a_new_declaration():
    with pytest.raises(errors.InvalidError) as caught:
        merge(DeploymentChanges(branch="--upload-pack=x"))
    assert caught.value.details["field"] == "branch"


@given(st.text(max_size=300))
def test_no_text_becomes_a_dangerous_ref_or_directory(text):
    if not grammar.branch_issue(text):
        assert not text.startswith("-")
        assert ".." not in text
        assert text.isascii()
        assert not set(text) & set(" \n\t~^:?*[\\;$`'\"")
    if not grammar.dir_issue(text):
        normal = grammar.normal_dir(text)
        assert not normal.startswith(("/", ".."))
        assert "/../" not in f"/{normal}/"
        assert grammar.normal_dir(normal) == normal
    if not grammar.remote_issue(text):
        assert text.startswith("https://")
        assert text.isprintable()


@given(
    st.builds(
        DeploymentChanges,
        version=st.sampled_from([None, "20", "22"]),
        branch=st.sampled_from([None, "main", "next"]),
        port=st.none() | st.integers(1, 65535),
        env=st.none() | st.dictionaries(st.sampled_from("ABC"), st.none() | st.text("xyz")),
        working_dir=st.sampled_from([None, "", "a", "./a/"]),
        health_check=st.sampled_from([None, {"path": "/x"}, {"interval": "1s"}]),
    )
)
def test_the_same_change_twice_is_no_second_change(changes):
    once = merge(changes)
    assert merge(changes, once) == once
    assert merge(DeploymentChanges(), once) == once


def test_the_changes_know_every_field_of_the_declaration():
    declared = {field.name for field in dataclasses.fields(deployment.DeploymentFields)}
    asked = {"given"}  # which of them somebody asked for: of a change that is what is not None
    assert declared - asked == {field.name for field in dataclasses.fields(DeploymentChanges)}
    elsewhere = {"name", "project", "poll", "instance", "secrets"}  # in the rows of deployment and service, and in env
    elsewhere |= {"image"}  # is always refused
    made = {"deploy_key", "deploy_public_key"}  # by us, when a repository is read by ssh
    assert {field.name for field in dataclasses.fields(values.Config)} - made == declared - elsewhere


@pytest.mark.parametrize(
    "remote", ["https://thief.example/a", "https://git.example.com:8443/a", "https://x.git.example.com/a"]
)
def test_a_stored_token_is_not_sent_to_another_host(remote):
    """It is write-only: who may change the remote must not learn it by that."""
    config = builders.a_config(git_token="ghp_hush")
    with pytest.raises(errors.InvalidError) as caught:
        deployment.merged("app", "prj_1", config, DeploymentChanges(remote=remote))
    assert caught.value.details["field"] == "git_token"
    assert "ghp_hush" not in caught.value.message
    for token in ("", "ghp_other"):
        changed = deployment.merged("app", "prj_1", config, DeploymentChanges(remote=remote, git_token=token))
        assert (changed.remote, changed.git_token) == (remote, token)


@pytest.mark.parametrize("remote", [None, "https://git.example.com/other", "https://GIT.example.com:443/team/app"])
def test_a_stored_token_stays_with_its_host(remote):
    config = builders.a_config(git_token="ghp_hush")
    changed = deployment.merged("app", "prj_1", config, DeploymentChanges(remote=remote, branch="next"))
    assert changed.git_token == "ghp_hush"


@pytest.mark.parametrize(
    ("target", "now", "opens"),
    [
        ("https://git.example.com/a", "https://git.example.com/b", ("today", "today")),
        ("https://git.example.com/a", "https://other.example.com/a", ("then", "then")),
        ("ssh://git@git.example.com/a", "https://git.example.com/a", ("then", "then")),
        ("git@git.example.com:a", "ssh://git@git.example.com/a", ("today", "today")),
        ("", "https://git.example.com/a", ("then", "then")),
    ],
)
def test_what_opens_a_repository_stays_with_its_server_on_the_way_back(target, now, opens):
    before = builders.a_config(remote=target, git_token="then", git_host_key="then")
    today = builders.a_config(remote=now, git_token="today", git_host_key="today")
    found = deployment.with_access_of(today, before)
    assert (found.remote, found.git_token, found.git_host_key) == (target, *opens)
