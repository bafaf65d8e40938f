"""What a real nginx does with what we tell it: who is answered, with which headers, and with which files."""

import asyncio
import base64
import hashlib
import os
import pathlib
import socket
import stat
import subprocess

import pytest

from node_agent import ports
from node_agent.model.canary import Counts
from node_agent.proxy import render, requests
from tests.proxy_fixtures import Rig, Upstream, a_route, a_site, a_static_site, an_id, needs_nginx, stream_server
from tests.waiting import wait_until_async

pytestmark = needs_nginx


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    made.nginx.kill()


@pytest.fixture
def upstream():
    server = Upstream("app")
    yield server
    server.close()


@pytest.mark.parametrize(
    "host", ["unknown.example.com", "example.com", "x.a.example.com", "127.0.0.1", "_", "localhost"]
)
async def test_an_unknown_host_gets_404_and_nobody_s_page(rig, upstream, host):
    proxy = rig.proxy()
    await proxy.apply((a_site(1, upstream.port, a_route(1, "a.example.com")),))
    assert await rig.get(host) == (404, "There is no application at this address.\n")


async def test_the_longest_path_of_a_domain_answers_and_words_are_whole(rig, upstream):
    other = Upstream("api")
    try:
        table = (
            a_site(1, upstream.port, a_route(1, "a.example.com")),
            a_site(2, other.port, a_route(2, "a.example.com", "/api"), a_route(3, "b.example.com", "/only")),
        )
        await rig.proxy().apply(table)
        paths = ["/", "/api", "/api/", "/api/v1?x=/", "/apis", "/a"]
        assert [(await rig.get("a.example.com", path))[1] for path in paths] == [
            "app",
            "api",
            "api",
            "api",
            "app",
            "app",
        ]
        assert [(await rig.get("b.example.com", path))[0] for path in ["/", "/only", "/onlyx"]] == [404, 200, 404]
    finally:
        other.close()


async def test_a_wildcard_serves_names_below_it_and_an_exact_name_wins(rig, upstream):
    other = Upstream("exact")
    try:
        table = (
            a_site(1, upstream.port, a_route(1, "*.example.com")),
            a_site(2, other.port, a_route(2, "a.example.com")),
        )
        await rig.proxy().apply(table)
        answers = [
            (await rig.get(host))[1]
            for host in ("a.example.com", "b.example.com", "B.C.EXAMPLE.com.", "A.example.com.")
        ]
        assert answers == ["exact", "app", "app", "exact"]
        assert (await rig.get("example.com"))[0] == 404
    finally:
        other.close()


async def test_forged_headers_are_overwritten_before_the_app(rig, upstream):
    await rig.proxy().apply((a_site(1, upstream.port, a_route(1, "a.example.com")),))
    forged = [
        "X-Forwarded-For: 6.6.6.6",
        "X-Forwarded-For: 7.7.7.7",
        "X_Forwarded_For: 6.6.6.6",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Port: 666",
        "X-Real-IP: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "Proxy: evil.example",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "TE: trailers",
    ]
    _, seen = await rig.get("A.example.com:8443", "/echo", *forged)
    headers = dict(line.split(": ", 1) for line in seen.splitlines()[1:] if line)
    assert headers.pop("HTTP2-Settings") == "AAMAAABkAAQAAP__"  # harmless without its upgrade
    assert headers == {
        "Host": "a.example.com:8443",
        "X-Real-IP": "127.0.0.1",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "a.example.com:8443",
        "Connection": "close",
    }


async def test_host_is_the_name_by_which_nginx_chose_the_server(rig, upstream):
    await rig.proxy().apply((a_site(1, upstream.port, a_route(1, "a.example.com")),))
    _, seen = await rig.get("evil.example", "http://a.example.com/echo")
    assert "Host: a.example.com\n" in seen
    assert "evil" not in seen


async def test_a_websocket_passes_in_both_directions(rig):
    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"upgrade: websocket" in head.lower()
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        while data := await reader.read(100):
            writer.write(data.upper())

    async with stream_server(serve) as port:
        proxy = rig.proxy()
        await proxy.apply((a_site(1, port, a_route(1, "a.example.com")),))
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.settings.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        for word in (b"one", b"two"):
            writer.write(word)
            assert await reader.readexactly(3) == word.upper()
            routes = (a_route(1, "a.example.com"), a_route(2, word.decode() + ".example.com"))
            await proxy.apply((a_site(1, port, *routes),))
        writer.close()
        await writer.wait_closed()


async def test_a_redirect_keeps_the_request_or_goes_exactly_there(rig, upstream):
    routes = (
        a_route(1, "a.example.com", redirect_to="https://www.example.com"),
        a_route(2, "a.example.com", "/old", redirect_to="http://www.example.com:8080/new?x=1"),
    )
    await rig.proxy().apply((a_site(1, upstream.port, *routes),))
    status, headers, _ = await rig.ask("a.example.com", "/x?y=1")
    assert (status, headers["location"]) == (308, "https://www.example.com/x?y=1")
    for path in ("/old", "/old/deep?z"):
        status, headers, _ = await rig.ask("a.example.com", path)
        assert (status, headers["location"]) == (308, "http://www.example.com:8080/new?x=1")


async def test_headers_of_a_route_take_the_place_of_the_apps(rig, upstream):
    value = 'a "b" \\ c; } $'.removesuffix(" $")
    route = a_route(1, "a.example.com", headers=(("X-A", value), ("X-Frame-Options", "DENY")))
    await rig.proxy().apply((a_site(1, upstream.port, route),))
    status, headers, body = await rig.ask("a.example.com")
    assert (status, body) == (200, "app")
    assert (headers["x-a"], headers["x-frame-options"]) == (value, "DENY")


async def test_maintenance_answers_503_with_a_page_and_when_to_come_back(rig, upstream):
    await rig.proxy().apply((a_site(1, upstream.port, a_route(1, "a.example.com", maintenance=True)),))
    status, headers, body = await rig.ask("a.example.com", "/any")
    assert (status, headers["retry-after"], headers["content-type"]) == (503, "120", "text/html; charset=utf-8")
    assert "Back soon" in body


def crypt_sha1(password: str, salt: bytes = b"salt1234") -> str:
    return "{SSHA}" + base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()


SHA512_OF_SECRET = subprocess.run(
    ["openssl", "passwd", "-6", "-salt", "saltsalt", "secret"], capture_output=True, text=True, check=True
).stdout.strip()


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def test_a_password_opens_a_route_and_stays_outside_of_the_app(rig, upstream):
    users = (("ann", SHA512_OF_SECRET), ("bob", crypt_sha1("other")))
    routes = (a_route(1, "a.example.com", basic_auth=users), a_route(2, "b.example.com"))
    await rig.proxy().apply((a_site(1, upstream.port, *routes),))
    status, headers, _ = await rig.ask("a.example.com")
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Restricted"')
    assert (await rig.get("a.example.com", "/", basic("ann", "wrong")))[0] == 401
    for user, password in (("ann", "secret"), ("bob", "other")):
        status, seen = await rig.get("a.example.com", "/echo", basic(user, password), "X-Forwarded-For: 6.6.6.6")
        assert status == 200
        assert "Authorization" not in seen
        assert "X-Forwarded-For: 127.0.0.1\n" in seen
    assert (await rig.get("b.example.com"))[0] == 200
    assert len(list((rig.paths.proxy / "current" / "users").iterdir())) == 1
    assert stat.S_IMODE((rig.paths.proxy / "current").stat().st_mode) == 0o700  # nobody else gets at the users' hashes


async def test_a_body_over_the_limit_is_refused_and_one_below_passes(rig, upstream):
    await rig.proxy().apply((a_site(1, upstream.port, a_route(1, "a.example.com", max_body_bytes=10)),))
    assert (await rig.get("a.example.com", "/", "Content-Length: 11"))[0] == 413
    await rig.proxy().apply((a_site(1, upstream.port, a_route(1, "a.example.com", max_body_bytes=100 << 20)),))
    assert (await rig.get("a.example.com", "/"))[0] == 200


async def test_without_websocket_no_upgrade_reaches_the_app(rig, upstream):
    await rig.proxy().apply((a_site(1, upstream.port, a_route(1, "a.example.com", websocket=False)),))
    _, seen = await rig.get(
        "a.example.com", "/echo", "Upgrade: websocket", "X-Forwarded-Proto: https", "Forwarded: for=x"
    )
    assert "Upgrade" not in seen
    assert "Connection: close\n" in seen
    assert "X-Forwarded-Proto: http\n" in seen
    assert "Forwarded: for" not in seen


async def test_a_route_with_a_bad_option_is_left_out_and_the_others_serve(rig, upstream):
    bad = a_route(1, "a.example.com", headers=(("X-A", "$host"),))
    state = await rig.proxy().apply((a_site(1, upstream.port, bad, a_route(2, "b.example.com")),))
    assert [route for route, _ in state.quarantined] == [bad.id]
    assert (await rig.get("b.example.com"))[0] == 200
    assert (await rig.get("a.example.com"))[0] == 404


async def test_a_request_is_sent_to_an_app_once_even_when_it_hangs_up(rig):
    seen = []

    async def hang_up(reader, writer):
        if line := await reader.readline():
            seen.append(line)

    async with stream_server(hang_up) as port:
        await rig.proxy().apply((a_site(1, port, a_route(1, "a.example.com")),))
        assert (await rig.get("a.example.com"))[0] == 502
    assert seen == [b"GET / HTTP/1.1\r\n"]


@pytest.fixture
def files(rig, tmp_path):
    """A sealed static release of service 1, served from dist/, with what must not be served beside it."""
    tree = rig.paths.release_tree(an_id("svc", 1), 1)
    (tree / "dist" / "sub").mkdir(parents=True)
    (tree / "dist" / ".well-known").mkdir()
    secret = tmp_path / "secret.txt"
    secret.write_text("canary")
    for name, content in {
        "index.html": "<h1>home</h1>",
        "about.html": "about",
        "sub/index.html": "sub",
        "app.js": "1",
        ".env": "canary",
        ".well-known/x": "known",
    }.items():
        (tree / "dist" / name).write_text(content)
    (tree / "source.txt").write_text("canary")
    (tree / "dist" / "link.txt").symlink_to(secret)
    (tree / "dist" / "linkdir").symlink_to(tmp_path)
    return tree


EXPECTED = {
    "/": (200, "<h1>home</h1>"),
    "/index.html": (200, "<h1>home</h1>"),
    "/about": (200, "about"),
    "/sub/": (200, "sub"),
    "/app.js": (200, "1"),
    "/.well-known/x": (200, "known"),
}
HIDDEN = [
    "/missing",
    "/.env",
    "/link.txt",
    "/linkdir/secret.txt",
    "/../source.txt",
    "/..%2fsource.txt",
    "/%2e%2e/source.txt",
    "/sub/../../source.txt",
]


@pytest.mark.parametrize("mount", ["", "/docs"])
async def test_static_files_are_served_and_nothing_beside_them(rig, files, mount):
    await rig.proxy().apply((a_static_site(1, "dist", a_route(1, "a.example.com", mount or "/")),))
    assert {path: await rig.get("a.example.com", mount + path) for path in EXPECTED} == EXPECTED
    for path in HIDDEN:
        status, body = await rig.get("a.example.com", mount + path)
        assert (path, status) in {(path, 403), (path, 404), (path, 400)}
        assert "canary" not in body
    assert (await rig.get("a.example.com", mount + "/sub"))[0] == 301


async def test_the_root_of_a_static_release_may_be_the_whole_tree(rig, files):
    (files / "index.html").write_text("whole")
    await rig.proxy().apply((a_static_site(1, "", a_route(1, "a.example.com")),))
    assert await rig.get("a.example.com") == (200, "whole")


async def test_a_static_directory_that_is_a_link_is_not_followed(rig, files, tmp_path):
    (files / "out").symlink_to(tmp_path)
    await rig.proxy().apply((a_static_site(1, "out", a_route(1, "a.example.com")),))
    status, body = await rig.get("a.example.com", "/secret.txt")
    assert status in {403, 404}
    assert "canary" not in body


@pytest.mark.parametrize("switches", [12])
async def test_switching_under_load_loses_no_request(rig, upstream, switches):
    """New connections all the time; the former upstream is stopped as soon as it is idle, as a drain does it."""
    proxy = rig.proxy()
    route = a_route(1, "a.example.com")
    await proxy.apply((a_site(1, upstream.port, route),))
    failures, answers, ended = [], [], asyncio.Event()

    async def load():
        while not ended.is_set():
            try:
                status, body = await rig.get("a.example.com")
                (answers if status == 200 else failures).append(body)
            except (OSError, ValueError, IndexError, TimeoutError) as error:
                failures.append(repr(error))
            await asyncio.sleep(0.01)  # some hundred requests a second; the machine has other work

    clients = [asyncio.create_task(load()) for _ in range(4)]
    other = Upstream("other")
    try:
        for turn in range(switches):
            await proxy.apply((a_site(1, other.port if turn % 2 == 0 else upstream.port, route),))
            assert (await rig.get("a.example.com"))[1] == ("other" if turn % 2 == 0 else "app")
    finally:
        ended.set()
        await asyncio.gather(*clients)
        other.close()
    assert failures == []
    assert len(answers) > switches
    assert set(answers) == {"app", "other"}


async def test_requests_to_a_canary_are_shared_by_weight_and_told_of(rig, upstream):
    other = Upstream("new")
    try:
        counts = requests.RequestCounts()
        shared = ports.Upstream(1, (upstream.port,), canary=ports.Canary(2, (other.port,), 25))
        site = ports.Site(an_id("svc", 1), shared, (a_route(1, "a.example.com"),))
        async with requests.listening(pathlib.Path(render.hits_socket(rig.paths)), counts, os.geteuid()):
            await rig.proxy().apply((site,))
            answers = [(await rig.get("a.example.com"))[1] for _ in range(40)]
            new = answers.count("new")
            assert abs(new - 10) <= 2  # of 40; each worker of nginx shares out its own requests
            await wait_until_async(lambda: counts.of({upstream.port, other.port}).total == 40)
        assert counts.of({other.port}) == Counts(new, 0)
    finally:
        other.close()


@pytest.mark.parametrize(("uid", "total"), [(os.geteuid(), 1), (os.geteuid() + 1, 0)])
async def test_only_what_nginx_itself_says_counts(tmp_path, uid, total):
    counts = requests.RequestCounts()
    async with requests.listening(tmp_path / "hits.sock", counts, uid):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"127.0.0.1:20001|500", str(tmp_path / "hits.sock"))
        for _ in range(5):  # turns of the loop, no time
            await asyncio.sleep(0)
    assert counts.of({20001}).total == total
