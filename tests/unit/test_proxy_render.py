"""What nginx is told: golden files, the grammar as a wall, and that nothing but the expected tree comes out."""

import dataclasses
import pathlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from node_agent import ports
from node_agent.model import domain_name, spec
from node_agent.paths import Paths
from node_agent.proxy import quoting, render
from tests.proxy_fixtures import a_route, a_site, a_static_site, an_id

GOLDEN = pathlib.Path(__file__).parent / "golden" / "proxy"


def an_optional(number: int, path: str = "/", **options: object) -> spec.RouteSpec:
    route = a_route(number, "opt.example.com", path)
    return dataclasses.replace(route, options=spec.RouteOptions(**options))


PATHS = Paths(pathlib.Path("/var/lib/dployr"))
SETTINGS = render.ProxySettings("127.0.0.1", 8081)
TABLES = {
    "empty": (),
    "mixed": (
        a_site(1, 20001, a_route(11, "shop.example.com"), a_route(12, "shop.example.com", "/api")),
        a_static_site(2, "dist", a_route(21, "shop.example.com", "/docs/v2"), a_route(22, "*.pages.example.com")),
        a_static_site(3, "", a_route(31, "site.example.com")),
        a_site(4, 20004, a_route(41, "only.example.com", "/hooks")),
        a_site(5, 20005),
    ),
}
SHA512 = "$6$saltsalt$" + "a" * 86
TABLES["options"] = (
    a_site(
        1,
        20001,
        an_optional(11, redirect_to="https://www.example.com"),
        an_optional(12, "/old", redirect_to="https://www.example.com/new?x=1", headers=(("X-A", "1"),)),
        an_optional(13, "/closed", maintenance=True, redirect_to="https://www.example.com"),
        an_optional(14, "/api", headers=(("X-Frame-Options", "DENY"), ("X-A", 'a "b" \\ c'), ("X-A", "2"))),
        an_optional(15, "/upload", max_body_bytes=1 << 30, websocket=False),
        an_optional(16, "/admin", basic_auth=(("ann", SHA512), ("bob", "{SSHA}" + "a" * 32))),
        an_optional(17, "/carried", tls="auto", force_https=True, weights=((an_id("svc", 9), 10),)),
    ),
    a_static_site(2, "", an_optional(21, "/docs", headers=(("X-A", "1"),), basic_auth=(("ann", SHA512),))),
)
HOSTILE_DOMAINS = [
    "",
    "a.example.com; alias /etc/",
    "a.example.com;",
    "a.example.com {",
    "a.example.com}",
    "a.example.com\nb.example.com",
    "a.example.com b.example.com",
    'a".example.com',
    "a'.example.com",
    "a\\.example.com",
    "$hostname",
    "a$.example.com",
    "~.*",
    "_",
    "*",
    "*.com.",
    "*.*.example.com",
    "a.*.example.com",
    "*example.com",
    ".example.com",
    "example.com.",
    "A.example.com",
    "a..example.com",
    "-a.example.com",
    "a-.example.com",
    "a_b.example.com",
    "bücher.example",
    "\u0430pple.example",
    "①27.0.0.1",
    "127.0.0.1",
    "[::1]",
    "a.example.com:80",
    "a.example.com/",
    "a.example.com#",
    "a\0.example.com",
    "a.example.com\r",
    "a" * 64 + ".example.com",
    ".".join(["a" * 60] * 5),
]
HOSTILE_PATHS = [
    "",
    "api",
    "/a b",
    "/a;",
    "/a{",
    "/a}",
    "/a$uri",
    "/a\n",
    "/a\\",
    '/a"',
    "/a'",
    "/a%2e",
    "/../etc",
    "/a/./b",
    "/a/..",
    "//a",
    "/a//b",
    "/a#",
    "/a?b",
    "/ä",
    "/a\0",
    "/" + "a" * 2000,
]


@pytest.mark.parametrize("name", TABLES)
def test_the_text_is_as_in_the_golden_file(name):
    files = render.render(7, TABLES[name], SETTINGS, PATHS)
    text = "".join(f"=== {path} ===\n{files[path]}" for path in sorted(files) if path != "mime.conf")
    assert text == (GOLDEN / f"{name}.txt").read_text()


def test_only_the_main_file_names_the_generation():
    one, two = (render.render(number, TABLES["mixed"], SETTINGS, PATHS) for number in (1, 2))
    assert {name for name in one if one[name] != two[name]} == {"nginx.conf"}


def test_every_file_is_included_by_name_once():
    files = render.render(1, TABLES["mixed"], SETTINGS, PATHS)
    included = re.findall(r'include "?([a-z_/A-Z0-9.]+)"?;', files["nginx.conf"])
    assert sorted(included) == sorted(set(files) - {"nginx.conf"})


def test_passwords_are_data_and_never_included():
    files = render.render(1, TABLES["options"], SETTINGS, PATHS)
    users = {name for name in files if name.startswith("users/")}
    assert users == {f"users/{an_id('rte', 16)}", f"users/{an_id('rte', 21)}"}
    assert not any(f'include "{name}"' in files["nginx.conf"] for name in users)
    assert not any("saltsalt" in text for name, text in files.items() if name not in users)


@pytest.mark.parametrize("domain", HOSTILE_DOMAINS)
def test_a_hostile_domain_is_refused(domain):
    with pytest.raises(ValueError, match="cannot"):
        render.render(1, (a_site(1, 20001, a_route(1, domain)),), SETTINGS, PATHS)


@pytest.mark.parametrize("path", HOSTILE_PATHS)
def test_a_hostile_path_is_refused(path):
    with pytest.raises(ValueError, match="cannot"):
        render.render(1, (a_site(1, 20001, a_route(1, "a.example.com", path)),), SETTINGS, PATHS)


HOSTILE_OPTIONS = [
    *(
        {"redirect_to": url}
        for url in (
            "www.example.com",
            "javascript:alert(1)",
            "ftp://a.example.com",
            "//evil.example",
            "https://",
            "https://*.example.com",
            "https://a.example.com:0",
            "https://a.example.com:99999",
            "https://user@a.example.com",
            "https://127.0.0.1",
            "https://A.example.com",
            "https://a.example.com/$host",
            'https://a.example.com/"; alias /etc/; #',
            "https://a.example.com/a b",
            "https://a.example.com/\r\nX-Evil: 1",
            "https://a.example.com/\\",
            "https://a.example.com/{",
            "https://a.example.com/ü",
            "https://a.example.com/" + "a" * 2048,
        )
    ),
    *(
        {"headers": (pair,)}
        for pair in (
            ("", "x"),
            ("X A", "x"),
            ("X-A:", "x"),
            ("X_A", "x"),
            ("X-A\n", "x"),
            ("X-A;", "x"),
            ("Ü", "x"),
            ("X" * 65, "x"),
            ("Connection", "close"),
            ("content-length", "5"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Server", "x"),
            ("X-A", "a\nb"),
            ("X-A", "a\rb"),
            ("X-A", "a\0"),
            ("X-A", "$request_uri"),
            ("X-A", "ü"),
            ("X-A", "x" * 4097),
        )
    ),
    {"headers": (("X-A", "1"),) * 51},
    *({"max_body_bytes": size} for size in (0, -1, 1 << 41, "25m", 1.5, True, None)),
    *(
        {"basic_auth": (pair,)}
        for pair in (
            ("", SHA512),
            ("a:b", SHA512),
            ("a\nroot", SHA512),
            ("a b", SHA512),
            ("u" * 65, SHA512),
            ("ann", ""),
            ("ann", "plain"),
            ("ann", "{PLAIN}secret"),
            ("ann", SHA512 + "\nbob:" + SHA512),
            ("ann", "$6$rounds=999999999$salt$" + "a" * 86),
            ("ann", "$2y$10$" + "a" * 53),
        )
    ),
    {"basic_auth": (("ann", SHA512), ("ann", SHA512))},
]


@pytest.mark.parametrize("options", HOSTILE_OPTIONS, ids=lambda options: repr(options)[:60])
@pytest.mark.parametrize("kind", ["application", "files"])
def test_a_hostile_option_is_refused(options, kind):
    route = an_optional(1, **options)
    site = a_site(1, 20001, route) if kind == "application" else a_static_site(1, "", route)
    if kind == "files" and "max_body_bytes" in options:
        return  # nothing is uploaded to files
    with pytest.raises(ValueError, match="cannot"):
        render.render(1, (site,), SETTINGS, PATHS)


@given(some.text(max_size=60), some.text(max_size=60))
def test_any_header_is_refused_or_one_directive(name, value):
    try:
        files = render.render(1, (a_site(1, 20001, an_optional(1, headers=((name, value),))),), SETTINGS, PATHS)
    except ValueError:
        return
    [server] = _parse(files[f"routes/{an_id('rte', 1)}.conf"])
    [location] = [part for part in server[1] if part[0] == "location"]
    assert location[2] == [
        ["add_header", name, value, "always"],
        ["proxy_hide_header", name],
        ["proxy_pass", f"http://{an_id('svc', 1)}"],
    ]


def test_a_default_route_says_nothing_of_options():
    plain = a_site(1, 20001, a_route(1, "a.example.com"))
    text = render.render(1, (plain,), SETTINGS, PATHS)[f"routes/{an_id('rte', 1)}.conf"]
    assert "add_header" not in text
    assert "proxy_set_header" not in text


@pytest.mark.parametrize("port", [0, -1, 65536, "80", "80; alias /etc/", 80.0, True, None])
def test_a_hostile_port_is_refused(port):
    with pytest.raises(ValueError, match="as a port"):
        render.render(1, (a_site(1, port, a_route(1, "a.example.com")),), SETTINGS, PATHS)


@pytest.mark.parametrize("root", ["/etc", "..", "a/../..", "a/$x", 'a"', "a\nb", "a;b", "{", "a\0"])
def test_a_hostile_static_directory_is_refused(root):
    with pytest.raises(ValueError, match="cannot"):
        render.render(1, (a_static_site(1, root, a_route(1, "a.example.com")),), SETTINGS, PATHS)


@pytest.mark.parametrize("route_id", ["", "../../x", "rte_1", an_id("rte", 1) + ";", an_id("rte", 1) + "\n"])
def test_an_id_never_becomes_a_path(route_id):
    route = dataclasses.replace(a_route(1, "a.example.com"), id=route_id)
    with pytest.raises(ValueError, match="as an id"):
        render.render(1, (a_site(1, 20001, route),), SETTINGS, PATHS)


@pytest.mark.parametrize(
    "settings",
    [
        render.ProxySettings("127.0.0.1;", 80),
        render.ProxySettings("example.com", 80),
        render.ProxySettings("127.0.0.1", 0),
        render.ProxySettings("127.0.0.1", 80, run_as="root;"),
        render.ProxySettings("127.0.0.1", 80, workers=0),
    ],
)
def test_settings_have_a_grammar_too(settings):
    with pytest.raises(ValueError, match=r"cannot|does not appear"):
        render.render(1, (), settings, PATHS)


def test_a_data_directory_that_nginx_would_expand_is_refused():
    with pytest.raises(ValueError, match="control character or a"):
        render.render(1, (), SETTINGS, Paths(pathlib.Path("/srv/$home")))


def test_a_data_directory_too_long_for_a_socket_is_refused():
    with pytest.raises(ValueError, match="shorter data directory"):
        render.render(1, (), SETTINGS, Paths(pathlib.Path("/srv/" + "a" * 100)))


def test_two_routes_for_one_place_are_refused():
    table = (a_site(1, 20001, a_route(1, "a.example.com", "/x")), a_site(2, 20002, a_route(2, "a.example.com", "/x/")))
    with pytest.raises(ValueError, match="twice"):
        render.render(1, table, SETTINGS, PATHS)


def test_an_ipv6_address_is_listened_on_in_brackets():
    assert (
        "listen [::1]:8081 default_server;"
        in render.render(1, (), render.ProxySettings("::1", 8081), PATHS)["nginx.conf"]
    )


LABELS = some.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
DOMAINS = some.builds(
    lambda wildcard, labels: wildcard + ".".join([*labels, "example"]),
    some.sampled_from(["", "*."]),
    some.lists(LABELS, min_size=1, max_size=4),
)
PATH_TEXTS = some.lists(
    some.from_regex(r"[A-Za-z0-9._~-]{1,9}", fullmatch=True).filter(lambda s: s not in {".", ".."}), max_size=4
).map(lambda segments: "/" + "/".join(segments))


def test_several_processes_share_the_requests_and_one_that_refuses_is_left_out_for_a_moment():
    site = ports.Site(an_id("svc", 1), ports.Upstream(1, (20001, 20002)), (a_route(1, "a.example.com"),))
    (block,) = _parse(render.render(1, (site,), SETTINGS, PATHS)[f"upstreams/{an_id('svc', 1)}.conf"])
    words = ["max_fails=1", "fail_timeout=1s"]
    assert block[2] == [["server", "127.0.0.1:20001", *words], ["server", "127.0.0.1:20002", *words]]


def test_while_the_former_release_is_down_its_canary_has_the_requests():
    upstream = ports.Upstream(1, (), canary=ports.Canary(2, (20002,), 10))
    files = render.render(1, (ports.Site(an_id("svc", 1), upstream, (a_route(1, "a.example.com"),)),), SETTINGS, PATHS)
    (block,) = _parse(files[f"upstreams/{an_id('svc', 1)}.conf"])
    assert block[2] == [["server", "127.0.0.1:20002", "weight=10", "max_fails=0"]]
    assert f"proxy_pass http://{an_id('svc', 1)};" in files[f"routes/{an_id('rte', 1)}.conf"]


def test_a_service_of_which_nothing_runs_is_answered_for_and_sent_nowhere():
    site = ports.Site(an_id("svc", 1), ports.Upstream(1), (a_route(1, "a.example.com"),))
    files = render.render(1, (site,), SETTINGS, PATHS)
    assert not any(name.startswith("upstreams/") for name in files)
    assert "proxy_pass" not in files[f"routes/{an_id('rte', 1)}.conf"]
    assert "return 502" in files[f"routes/{an_id('rte', 1)}.conf"]


@given(DOMAINS, PATH_TEXTS, some.integers(1, 65535))
def test_a_permitted_route_parses_to_exactly_the_expected_tree(domain, path, port):
    files = render.render(1, (a_site(1, port, a_route(1, domain, path)),), SETTINGS, PATHS)
    service = an_id("svc", 1)
    assert _parse(files[f"upstreams/{service}.conf"]) == [
        ["upstream", service, [["server", f"127.0.0.1:{port}", "max_fails=0"]]]
    ]
    target = [["proxy_pass", f"http://{service}"]]
    places = (
        [["location", "/", target]]
        if path == "/"
        else [["location", "=", path, target], ["location", path + "/", target]]
    )
    [server] = _parse(files[f"routes/{an_id('rte', 1)}.conf"])
    assert server[1][:2] == [["listen", "127.0.0.1:8081"], ["server_name", domain]]
    assert server[1][2 : 2 + len(places)] == places
    assert len(server[1]) == 3 if path == "/" else [part[:2] for part in server[1][4:]] == [["location", "/"]]


@given(some.text(max_size=40))
def test_any_text_as_a_domain_is_refused_or_plain(text):
    try:
        checked = domain_name.checked_domain(text)
    except ValueError:
        return
    assert re.fullmatch(r"(\*\.)?[a-z0-9.-]+", checked)


@given(some.text(max_size=40))
def test_any_text_as_a_path_is_refused_or_plain(text):
    try:
        checked = domain_name.checked_path(text)
    except ValueError:
        return
    assert re.fullmatch(r"/|(/[A-Za-z0-9._~-]+)+", checked)


@given(some.text(max_size=40))
def test_any_text_is_quoted_to_one_word_or_refused(text):
    try:
        quoted = quoting.quoted(text)
    except ValueError:
        return
    assert _parse(f"directive {quoted};") == [["directive", text]]


def test_a_service_without_routes_is_not_mentioned():
    assert not any(an_id("svc", 5) in text for text in render.render(1, TABLES["mixed"], SETTINGS, PATHS).values())


def test_a_static_release_is_a_number():
    site = ports.Site(an_id("svc", 1), ports.Upstream("1/../../2", (), ""), (a_route(1, "a.example.com"),))
    with pytest.raises(ValueError, match="number above 0"):
        render.render(1, (site,), SETTINGS, PATHS)


def _parse(text):
    """nginx's own grammar, small: words, quotes, `;` and blocks."""
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[{};]|[^\s{};"]+', text, re.DOTALL)
    stack, words = [[]], []
    for token in tokens:
        if token == ";":
            stack[-1].append(words)
            words = []
        elif token == "{":
            stack.append([])
            stack[-2].append([*words, stack[-1]])
            words = []
        elif token == "}":
            stack.pop()
        else:
            words.append(re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL) if token[0] == '"' else token)
    assert len(stack) == 1
    return stack[0]
