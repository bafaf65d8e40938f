"""The grammar of domains and paths: what passes can stand in nginx's configuration as it is."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane import errors
from control_plane.domain import route

SAFE_DOMAIN = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*")
SAFE_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("app.example.com", "app.example.com"),
        ("App.EXAMPLE.com.", "app.example.com"),
        ("localhost", "localhost"),
        ("*.example.com", "*.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("\uff41\uff50\uff50.example", "app.example"),
        ("1.example.com", "1.example.com"),
    ],
)
def test_a_domain_is_stored_in_one_spelling(text, stored):
    assert route.checked_domain(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        ".a.example",
        "a.example..",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a b.example",
        "a;b.example",
        "a{b.example",
        "a}b",
        "a\nb.example",
        "a.example\n",
        "a\0.example",
        "$hostname",
        "~.*",
        "_",
        "*",
        "*.",
        "*.com",
        "a.*.example",
        "*a.example.com",
        "**.example.com",
        "127.0.0.1",
        "2130706433",
        "a.example:80",
        "[::1]",
        "a/b",
        "a" * 64 + ".example",
        ".".join(["a" * 60] * 5),
        "xn--\ud800.example",
        'a".example',
        "a\\.example",
        "a#.example",
    ],
)
def test_what_is_no_domain_is_refused(text):
    with pytest.raises(errors.InvalidError) as caught:
        route.checked_domain(text)
    assert caught.value.details["field"] == "domain"
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "stored"), [("/", "/"), ("/api", "/api"), ("/api/", "/api"), ("/a/b.c_d~e-f", "/a/b.c_d~e-f")]
)
def test_a_path_is_stored_in_one_spelling(text, stored):
    assert route.checked_path(text) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "api",
        "/a b",
        "/a;b",
        "/a{",
        "/a\n",
        "/a$b",
        "/%2e%2e",
        "//",
        "/a//b",
        "/..",
        "/a/../b",
        "/a/.",
        "/" + "a" * 1024,
    ],
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(errors.InvalidError) as caught:
        route.checked_path(text)
    assert caught.value.details["field"] == "path"


domains = st.text(max_size=80) | st.from_regex(r"(\*\.)?[A-Za-zäß0-9.{;\n -]{1,40}\.?", fullmatch=True)


@given(domains)
def test_any_text_is_refused_or_becomes_a_safe_domain(text):
    try:
        stored = route.checked_domain(text)
    except errors.InvalidError:
        return
    assert SAFE_DOMAIN.fullmatch(stored)
    assert len(stored) <= 253
    assert route.checked_domain(stored) == stored


@given(st.text(max_size=80) | st.from_regex(r"/[A-Za-z0-9./~{;\n-]{0,20}", fullmatch=True))
def test_any_text_is_refused_or_becomes_a_safe_path(text):
    try:
        stored = route.checked_path(text)
    except errors.InvalidError:
        return
    assert SAFE_PATH.fullmatch(stored)
    assert ".." not in stored.split("/")
    assert route.checked_path(stored) == stored


def test_a_name_of_a_million_letters_is_refused_before_it_is_folded(monkeypatch):
    monkeypatch.setattr(route, "_idna", lambda _: pytest.fail("folded"))
    for text in ("ü" * 1_000_000, "ü." * 500_000, "*." + "ü" * 1_000_000):
        with pytest.raises(errors.InvalidError, match="not a domain name"):
            route.checked_domain(text)
