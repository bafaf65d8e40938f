"""The pure parts of the command line: what is sent, what is printed, which server and token are used."""

import pytest
from click import BadParameter
from hypothesis import given, strategies

from dployr import config, errors
from dployr.cli import deploy, failures, output
from dployr.config import Credentials, Tokens
from dployr.stack import addresses


@given(strategies.text())
def test_nothing_that_a_terminal_obeys_is_left_in_cleaned_text(text: str) -> None:
    assert all(c.isprintable() or c == "\t" for c in output.clean(text))


def test_cleaned_text_shows_what_was_there() -> None:
    assert output.clean("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"


def test_only_what_was_given_is_sent() -> None:
    options = {"name": "a", "branch": None, "env": ("A=1", "B=x=y"), "health_path": "/up", "port": 3000}
    assert deploy.fields_of(options) == {
        "name": "a",
        "env": {"A": "1", "B": "x=y"},
        "health_check": {"kind": "http", "path": "/up"},
        "port": 3000,
    }


@pytest.mark.parametrize("text", ["A", "=1", ""])
def test_an_env_option_without_key_or_sign_is_a_usage_error(text: str) -> None:
    with pytest.raises(BadParameter, match="KEY=VALUE"):
        deploy.fields_of({"env": (text,)})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("x"), 2),
        (errors.Unreachable("x"), 3),
        (errors.ApiError(401, "unauthorized", "x", {}, ""), 3),
        (errors.ApiError(409, "conflict", "x", {}, ""), 1),
        (errors.StackError("x"), 1),
    ],
)
def test_exit_codes_tell_failures_apart(error: errors.DployrError, code: int) -> None:
    assert failures.exit_code(error) == code


def test_who_is_not_signed_in_is_told_how() -> None:
    assert failures.sentence(errors.ApiError(401, "unauthorized", "no token", {}, "")).endswith("run `dployr login`")


def test_the_option_wins_over_the_environment_and_that_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = Credentials("http://file.test", {"http://file.test": Tokens("stored")})
    assert config.pick_server(None, stored) == "http://file.test"
    monkeypatch.setenv("DPLOYR_SERVER", "http://environment.test/")
    assert config.pick_server(None, stored) == "http://environment.test"
    assert config.pick_server("https://option.test", stored) == "https://option.test"


def test_a_stored_token_goes_to_its_own_server_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DPLOYR_TOKEN", raising=False)
    stored = Credentials("http://a.test", {"http://a.test": Tokens("stored", "r")})
    assert config.pick_tokens("http://a.test", stored) == Tokens("stored", "r")
    assert config.pick_tokens("http://b.test", stored) is None
    monkeypatch.setenv("DPLOYR_TOKEN", "given")
    assert config.pick_tokens("http://b.test", stored) == Tokens("given")


@pytest.mark.parametrize("server", ["localhost:8080", "ftp://x", "http://"])
def test_a_server_must_be_an_http_address(server: str) -> None:
    with pytest.raises(errors.ConfigError, match="give http://HOST:PORT"):
        config.pick_server(server, Credentials())


@pytest.mark.parametrize("text", ["8080", "localhost", "localhost:", ":1", "a:0", "a:65536", "a:x", "a:²"])
def test_an_address_is_host_and_port(text: str) -> None:
    with pytest.raises(errors.StackError, match="--api"):
        addresses.parse(text, "--api")


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert str(addresses.parse("[::1]:80", "--api")) == "[::1]:80"
    assert addresses.parse("0.0.0.0:80", "--api").url() == "http://127.0.0.1:80"


def test_a_late_line_is_marked_on_a_terminal_and_is_the_apps_own_in_a_pipe() -> None:
    late = {"seq": 1, "line": "red \x1b", "late": True}
    assert output.log_text(late, on_terminal=True) == "(late) red \\x1b"
    assert output.log_text(late, on_terminal=False) == "red \x1b"
    assert output.log_text(late | {"late": False}, on_terminal=True) == "red \\x1b"
