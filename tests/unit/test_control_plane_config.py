"""Settings: three sources, one typing, and errors that name the key."""

import dataclasses
import pathlib

import pytest

from control_plane import config


def written(tmp_path, text):
    file = tmp_path / "settings.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = written(tmp_path, "data_dir: /file\napi_port: 1\nhub_port: 1\nenrol_port: 1\n")
    environment = {"DPLOYR_API_PORT": "2", "DPLOYR_HUB_PORT": "2", "OTHER": "x", "DPLOYR_ENROL_PORT": ""}
    settings = config.load(file, environment, {"api_port": 3, "hub_port": None})
    assert (settings.api_port, settings.hub_port, settings.enrol_port) == (3, 2, 1)
    assert settings.database == pathlib.Path("/file/control-plane.db")


def test_every_setting_has_a_parser_and_defaults_hold():
    assert {field.name for field in dataclasses.fields(config.Settings)} == set(config.PARSERS)
    settings = config.load(None, {}, {"data_dir": "/x"})
    assert settings == config.Settings(pathlib.Path("/x"))
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        text = "" if value is None else config._text(value)
        assert config.PARSERS[field.name](text) == value


@pytest.mark.parametrize(
    ("word", "value"), [("true", True), ("YES", True), ("off", False), (True, True), (False, False)]
)
def test_a_flag_is_written_in_words(word, value):
    assert config.load(None, {}, {"data_dir": "/x", "allow_file_remotes": word}).allow_file_remotes is value


def test_a_file_holds_text_only_and_nothing_is_guessed(tmp_path):
    file = written(tmp_path, "data_dir: /x\nadmin_email: 0777\n")
    assert config.load(file, {}).admin_email == "0777"


@pytest.mark.parametrize("text", ["", "# nothing\n"])
def test_an_empty_file_sets_nothing(tmp_path, text):
    assert config.load(written(tmp_path, text), {"DPLOYR_DATA_DIR": "/x"}).data_dir == pathlib.Path("/x")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("data_dir: /x\ndata_dir: /y\n", "'data_dir' stands there twice"),
        ("data_dir: &a /x\nadmin_email: *a\n", "aliases"),
        ("data_dir: /x\ncolour: blue\n", "'colour' in .*settings.yaml: no such setting"),
        ("data_dir: [a]\n", "'data_dir' in .*one text"),
        ("- data_dir\n", "key: value"),
        ("data_dir: {\n", "cannot read"),
        (b"data_dir: \xff\n", "cannot read"),
        ("a: !!python/object/apply:os.system [x]\n", "one text"),
        ("data_dir: " + "x" * config.MAX_FILE, "larger than"),
    ],
)
def test_a_bad_file_is_refused_with_its_name(tmp_path, text, complaint):
    with pytest.raises(config.ConfigError, match=complaint) as caught:
        config.load(written(tmp_path, text), {})
    assert "settings.yaml" in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(config.ConfigError, match="No such file"):
        config.load(tmp_path / "none.yaml", {})


def test_a_missing_directory_is_refused():
    with pytest.raises(config.ConfigError, match="data_dir is missing"):
        config.load(None, {})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("api_port", "many"),
        ("api_port", "65536"),
        ("api_port", "-1"),
        ("api_host", ""),
        ("api_host", "a b"),
        ("proxy_url", "ftp://x"),
        ("proxy_url", "http://"),
        ("proxy_url", "http://x:99999"),
        ("proxy_url", "http://u@x"),
        ("allow_file_remotes", "maybe"),
        ("trusted_hops", "11"),
        ("webhook_allow", "10.0.0.1/8"),
        ("webhook_allow", "example.com"),
        ("rate_limit_user", "0"),
        ("data_dir", "a\0"),
        ("data_dir", ""),
    ],
)
def test_a_bad_value_names_its_key_and_source(key, value):
    with pytest.raises(config.ConfigError, match=f"cannot use {key} = .* on the command line: "):
        config.load(None, {}, {"data_dir": "/x", key: value})
    if value and "\0" not in value:
        with pytest.raises(config.ConfigError, match=f"in DPLOYR_{key.upper()}: "):
            config.load(None, {"DPLOYR_DATA_DIR": "/x", f"DPLOYR_{key.upper()}": value})


def test_the_public_address_is_what_is_set_or_where_it_listens():
    assert config.load(None, {}, {"data_dir": "/d"}).public_url == "http://127.0.0.1:8080"
    assert config.load(None, {}, {"data_dir": "/d", "api_host": "::1"}).public_url == "http://[::1]:8080"
    given = {"data_dir": "/d", "base_url": "https://deploy.example.com/"}
    assert config.load(None, {}, given).public_url == "https://deploy.example.com"
    with pytest.raises(config.ConfigError, match="base_url"):
        config.load(None, {}, {"data_dir": "/d", "base_url": "deploy.example.com"})
