"""The command line as people run it, against a small HTTP server that plays the control plane."""

import http.server
import json
import pathlib
import socket
import stat
import subprocess
import sys
import threading
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dployr.cli import dployr, follow

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROUTES = "/v1/proxy/routes"


class FakeServer(http.server.ThreadingHTTPServer):
    """Answers from `answers`: (method, path) → a list of (status, object); the last one is kept."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[tuple[str, str], list[tuple[int, Any]]] = {}
        self.seen: list[tuple[str, str, Any]] = []
        self.queries: list[str] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def on(self, method: str, path: str, *answers: tuple[int, Any]) -> None:
        self.answers[method, path] = list(answers)

    def bodies(self, method: str, path: str) -> list[Any]:
        return [body for one, place, body in self.seen if (one, place) == (method, path)]


class Stream(list[Any]):
    """An answer of one object a line."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: FakeServer

    def answer(self) -> None:
        path = self.path.partition("?")[0]
        size = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(size)) if size else self._pieces()
        self.server.seen.append((self.command, path, body))
        self.server.queries.append(self.path.partition("?")[2])
        known = self.server.answers.get((self.command, path), [(404, problem("not_found", f"no {path}"))])
        status, value = known.pop(0) if len(known) > 1 else known[0]
        if isinstance(value, Stream):
            content = "".join(json.dumps(line) + "\n" for line in value).encode()
        elif path.endswith("/logs") and "follow=true" in self.path and status == 200:
            content = "".join(json.dumps(line) + "\n" for line in value["data"]).encode()
        else:
            content = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _pieces(self) -> bytes | None:
        """A body that is sent as it comes."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return None
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


def problem(code: str, message: str, **details: Any) -> Any:
    return {"error": {"code": code, "message": message, "details": details}, "request_id": "req_1"}


def page(*items: Any) -> Any:
    return {"data": list(items), "next_cursor": None}


def deployment(**more: Any) -> Any:
    shown = {"id": "dep_1", "name": "web", "service_id": "svc_1", "status": "running", "release": 1, "port": 3000}
    return {**shown, "live_release": 1, "runtime": "nodejs", "urls": ["http://web.test/"], **more}


@pytest.fixture
def server():
    made = FakeServer()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def run(server: FakeServer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DPLOYR_SERVER", raising=False)
    monkeypatch.setenv("DPLOYR_TOKEN", "token")

    def call(*arguments: str, **options: Any) -> Result:
        first = ("--server", server.url, "--config", str(tmp_path / "credentials.json"))
        return CliRunner().invoke(dployr, [*first, *arguments], **options)

    return call


def releases(server: FakeServer, *states: str, message: str = "", log: Any = None) -> None:
    """Release 1 moves through `states`."""
    path = "/v1/deployments/dep_1/releases/1"
    server.on("GET", path, *((200, {"number": 1, "state": state, "message": message}) for state in states))
    server.on("GET", path + "/logs", (200, log or page()))


def test_login_keeps_the_tokens_readable_by_their_owner_alone(run, server, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("DPLOYR_TOKEN")
    tokens = {"access_token": "first", "refresh_token": "r1", "expires_in": 3600}
    server.on("POST", "/v1/auth/login", (200, tokens))
    (tmp_path / "password").write_text("secret\n")
    done = run("login", "--email", "a@b.test", "--password-file", str(tmp_path / "password"))
    assert done.exit_code == 0, done.output
    assert server.bodies("POST", "/v1/auth/login") == [{"email": "a@b.test", "password": "secret"}]
    file = tmp_path / "credentials.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["tokens"][server.url]["access"] == "first"

    renewed = {**tokens, "access_token": "second"}
    server.on("POST", "/v1/auth/refresh", (200, renewed))
    server.on("GET", "/v1/deployments", (401, problem("unauthorized", "expired")), (200, page()))
    assert run("list").exit_code == 0
    assert json.loads(file.read_text())["tokens"][server.url]["access"] == "second"

    server.on("POST", "/v1/auth/logout", (204, None))
    assert run("auth", "logout").exit_code == 0
    assert len(server.bodies("POST", "/v1/auth/logout")) == 1
    assert json.loads(file.read_text())["tokens"] == {}


def test_a_new_name_is_created_routed_followed_and_live(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (404, problem("not_found", "no web")))
    server.on("POST", "/v1/deployments", (201, deployment(live_release=None, status="pending")))
    server.on("GET", ROUTES, (200, page()))
    server.on("POST", ROUTES, (201, {"id": "rte_1", "domain": "web.test"}))
    server.on(
        "GET", f"{ROUTES}/rte_1", *((200, {"domain": "web.test", "status": each}) for each in ("pending", "active"))
    )
    server.on("GET", "/v1/deployments/dep_1", (200, deployment()))
    lines = page({"seq": 1, "line": "installing"}, {"seq": 2, "line": "\x1b]0;owned\x07done"})
    releases(server, "pending", "building", "checking", "live", log=lines)
    options = ("--remote", "https://git.test/a", "--runtime", "nodejs", "--port", "3000", "-e", "A=1")
    done = run("deploy", "--name", "web", *options, "--domain", "Web.test")
    assert done.exit_code == 0, done.output
    assert server.bodies("POST", "/v1/deployments") == [
        {
            "name": "web",
            "source": "remote",
            "remote": "https://git.test/a",
            "runtime": "nodejs",
            "port": 3000,
            "env": {"A": "1"},
        }
    ]
    assert server.bodies("POST", ROUTES) == [{"domain": "Web.test", "service_id": "svc_1", "port": 3000}]
    assert "  installing\n" in done.stdout
    assert "http://web.test/" in done.stdout
    assert [line.rpartition(" ")[2] for line in done.stderr.splitlines()] == ["pending", "building", "checking", "live"]


def test_a_known_name_is_changed_and_its_route_is_left_alone(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (200, deployment(release=0)))
    server.on("PUT", "/v1/deployments/dep_1", (200, deployment()))
    server.on("GET", ROUTES, (200, page({"id": "rte_1", "domain": "web.test", "service_id": "svc_1"})))
    server.on(
        "GET", f"{ROUTES}/rte_1", *((200, {"domain": "web.test", "status": each}) for each in ("failed", "active"))
    )
    server.on("GET", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "live")
    done = run("deploy", "--name", "web", "--version", "22", "--domain", "web.test", "--json")
    assert done.exit_code == 0, done.output
    assert server.bodies("PUT", "/v1/deployments/dep_1") == [{"version": "22"}]
    assert not server.bodies("POST", ROUTES)
    assert json.loads(done.stdout)["name"] == "web"


def test_a_domain_that_does_not_lead_to_what_is_live_fails_the_command_with_the_reason(
    run, server, monkeypatch
) -> None:
    monkeypatch.setattr(follow, "PATIENCE_S", {True: 20.0, False: 0.0})
    server.on("GET", "/v1/deployments/web", (200, deployment(release=0)))
    server.on("PUT", "/v1/deployments/dep_1", (200, deployment()))
    server.on("GET", ROUTES, (200, page({"id": "rte_1", "domain": "web.test", "service_id": "svc_1"})))
    why = "the live release has no process that takes requests; give it a run_cmd"
    server.on("GET", f"{ROUTES}/rte_1", (200, {"domain": "web.test", "status": "failed", "message": why}))
    releases(server, "live")
    done = run("deploy", "--name", "web", "--version", "22", "--domain", "web.test")
    assert done.exit_code == 1
    assert f"the release is live, but web.test does not lead to it: {why}" in done.stderr


def test_a_directory_is_packed_uploaded_and_followed(run, server, tmp_path) -> None:
    place = tmp_path / "app"
    place.mkdir()
    (place / "index.html").write_text("hello")
    server.on("GET", "/v1/deployments/web", (404, problem("not_found", "no web")))
    server.on("POST", "/v1/deployments", (201, deployment(live_release=None, status="pending")))
    server.on("POST", "/v1/deployments/dep_1/source", (200, deployment()))
    server.on("GET", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "live")
    done = run("deploy", str(place), "--name", "web", "--runtime", "static")
    assert done.exit_code == 0, done.output
    assert server.bodies("POST", "/v1/deployments") == [{"name": "web", "source": "local", "runtime": "static"}]
    assert "packed 1 entries" in done.stderr
    assert server.bodies("POST", "/v1/deployments/dep_1/source")[0].startswith(b"\x1f\x8b")


def test_a_directory_goes_to_what_is_declared_already_and_changes_what_is_told_alone(run, server, tmp_path) -> None:
    (tmp_path / "a").write_text("a")
    server.on("GET", "/v1/deployments/web", (200, deployment(source="local")))
    server.on("POST", "/v1/deployments/dep_1/source", (200, deployment()))
    server.on("GET", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "live")
    assert run("deploy", str(tmp_path), "--name", "web", "--runtime", "nodejs").exit_code == 0
    for words in (["--remote", "https://git.test/a"], ["--branch", "x"], ["--no-submodules"], ["--source", "remote"]):
        refused = run("deploy", str(tmp_path), "--name", "web", *words)
        assert (refused.exit_code, "a directory is the source here" in refused.stderr) == (2, True)
    assert run("deploy", str(tmp_path / "none"), "--name", "web").exit_code == 1
    assert not server.bodies("PUT", "/v1/deployments/dep_1")


def test_a_failed_release_ends_with_its_reason_and_exit_code_1(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (200, deployment(release=0)))
    server.on("PUT", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "building", "failed", message="`npm ci` exited with code 1")
    done = run("deploy", "--name", "web", "--build-cmd", "npm ci")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == "dployr: release 1 failed: `npm ci` exited with code 1"


def test_a_control_plane_that_is_away_for_a_moment_is_waited_for(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (200, deployment(release=0)))
    server.on("PUT", "/v1/deployments/dep_1", (200, deployment()))
    server.on("GET", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "building", "live")
    known = server.answers["GET", "/v1/deployments/dep_1/releases/1"]
    known.insert(1, (503, problem("unavailable", "starting")))
    assert run("deploy", "--name", "web", "--version", "22").exit_code == 0


def test_a_release_that_takes_too_long_is_left_to_itself(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (200, deployment(release=0)))
    server.on("PUT", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "building")
    done = run("deploy", "--name", "web", "--version", "22", "--timeout", "0")
    assert done.exit_code == 1
    assert "release 1 is still building" in done.stderr


def test_bad_input_is_said_with_field_and_issue(run, server) -> None:
    details = {"field": "runtime", "issue": "Unsupported runtime", "supported": ["nodejs"]}
    server.on("POST", "/v1/deployments", (400, problem("invalid_request", "Invalid deployment", **details)))
    done = run("--verbose", "deploy", "--name", "web", "--runtime", "cobol")
    assert done.exit_code == 1
    assert done.stderr == (
        "dployr: Invalid deployment (runtime: Unsupported runtime, supported: nodejs) [400 invalid_request req_1]\n"
    )


def test_a_server_that_is_not_there_is_exit_code_3(run) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    done = run("--server", url, "list")
    assert done.exit_code == 3
    assert f"cannot reach {url}" in done.stderr


def test_who_is_not_signed_in_gets_exit_code_3_and_the_next_step(run, server) -> None:
    server.on("GET", "/v1/services/web/status", (401, problem("unauthorized", "no token")))
    done = run("service", "status", "web")
    assert done.exit_code == 3
    assert "dployr login" in done.stderr


@pytest.mark.parametrize("arguments", [("deploy",), ("service", "jump", "web"), ("deploy", "--name", "a", "-e", "B")])
def test_wrong_use_is_exit_code_2(run, server, arguments) -> None:
    server.on("GET", "/v1/deployments/a", (200, deployment()))
    assert run(*arguments).exit_code == 2


def test_what_a_server_says_cannot_command_the_terminal(run, server) -> None:
    server.on("GET", "/v1/deployments", (500, problem("internal_error", "\x1b[2Jgone")))
    assert run("list").stderr == "dployr: \\x1b[2Jgone\n"


def test_logs_print_lines_and_follow_until_the_stream_ends(run, server) -> None:
    lines = page({"seq": 1, "line": "one"}, {"gap": {"from": 2, "to": 9}}, {"seq": 10, "line": "two"})
    server.on("GET", "/v1/services/web/logs", (200, lines))
    for options in ((), ("--follow", "--tail", "5")):
        done = run("logs", "web", *options)
        assert done.stdout.splitlines() == ["one", "two"]
        assert "2 to 9" in done.stderr
    assert [json.loads(line)["seq"] for line in run("logs", "web", "--json").stdout.splitlines()[::2]] == [1, 10]


def test_a_followed_log_goes_on_behind_the_last_line_when_its_stream_breaks(run, server) -> None:
    broken = {"error": {"code": "unavailable", "message": "the server is stopping"}}
    server.on(
        "GET",
        "/v1/services/web/logs",
        (200, page({"seq": 1, "line": "one"}, {"gap": {"from": 2, "to": 9}}, broken)),
        (503, problem("unavailable", "the instance is away")),
        (200, page({"seq": 10, "line": "ten"})),
    )
    done = run("logs", "web", "--follow")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["one", "ten"]
    assert ["after_seq=9" in query for query in server.queries] == [False, True, True]


def test_a_log_that_cannot_be_had_at_all_is_not_waited_for(run, server) -> None:
    server.on("GET", "/v1/services/web/logs", (503, problem("unavailable", "the instance is away")))
    assert run("logs", "web", "--follow").exit_code != 0
    assert len(server.seen) == 1


@pytest.mark.parametrize("verb", ["start", "stop", "restart"])
def test_a_service_is_told_what_to_do(run, server, verb: str) -> None:
    server.on("POST", f"/v1/services/web/{verb}", (202, {"id": "svc_1", "name": "web"}))
    assert run("service", verb, "web").exit_code == 0
    assert json.loads(run("--json", "service", verb, "web").stdout)["id"] == "svc_1"


A_RELEASE = {
    "number": 2,
    "state": "live",
    "cause": "update",
    "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
    "created_at": "2026-01-01T00:00:00Z",
    "pinned": True,
}


def test_releases_are_listed_compared_kept_and_gone_back_to(run, server) -> None:
    path = "/v1/deployments/web"
    server.on("GET", f"{path}/releases", (200, page(A_RELEASE, {**A_RELEASE, "number": 1, "pinned": False})))
    rows = [line.split("\t") for line in run("release", "list", "web").stdout.splitlines()]
    assert [(row[0], row[3], row[5]) for row in rows] == [("2", "9fceb02d0ae5", "pinned"), ("1", "9fceb02d0ae5", "-")]
    changes = [{"field": "version", "from": "18", "to": "20"}]
    server.on("GET", f"{path}/releases/1/diff/2", (200, {"commits": ["a" * 40, "b" * 40], "changes": changes}))
    assert run("release", "diff", "web", "1", "2").stdout == f"commit\t{'a' * 12}\t{'b' * 12}\nversion\t18\t20\n"
    for verb in ("pin", "unpin"):
        server.on("POST", f"{path}/releases/1/{verb}", (200, A_RELEASE))
        assert run("release", verb, "web", "1").exit_code == 0
    server.on("POST", f"{path}/cancel", (202, deployment(release=3)))
    assert run("cancel", "web").stdout == "release 3 of web is cancelled\n"
    server.on("POST", f"{path}/rollback", (202, deployment(id="dep_1", release=4)))
    server.on("GET", "/v1/deployments/dep_1/releases/4", (200, {**A_RELEASE, "number": 4}))
    server.on("GET", "/v1/deployments/dep_1", (200, deployment(release=4, live_release=4)))
    assert "4" in run("rollback", "web", "1").stdout
    assert server.bodies("POST", f"{path}/rollback") == [{"release": 1}]


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        ({"outcome": "exited", "code": 3}, 3),
        ({"outcome": "signalled", "code": 9}, 137),
        ({"outcome": "timeout", "code": 0}, 124),
        ({"outcome": "start_failed", "code": 2}, 127),
        ({"outcome": "cancelled", "code": 0}, 1),
        (None, 1),
    ],
)
def test_a_command_gives_its_output_and_its_exit_code(run, server, ended, code: int) -> None:
    pieces = [{"stream": "stdout", "data": "out"}, {"stream": "stderr", "data": "err"}]
    server.on("POST", "/v1/services/web/run", (200, Stream([*pieces, *([{"exit": ended}] if ended else [])])))
    done = run("run", "web", "--timeout", "5", "--", "printf", "%s", "a b")
    assert (done.exit_code, done.stdout) == (code, "out")
    assert done.stderr.startswith("err")
    assert server.bodies("POST", "/v1/services/web/run") == [{"command": "printf %s 'a b'", "timeout": 5.0}]


def test_what_there_is_is_listed_one_a_line_into_a_pipe(run, server) -> None:
    server.on("GET", "/v1/deployments", (200, page(deployment(), deployment(name="b", live_release=None, urls=[]))))
    server.on("GET", "/v1/instances", (200, page({"id": "ins_1", "name": "h", "status": "online", "last_seen": None})))
    server.on("GET", "/v1/instances/h", (200, {"id": "ins_1", "status": "online"}))
    assert run("list").stdout == "web\trunning\t1\tnodejs\thttp://web.test/\nb\trunning\t-\tnodejs\t-\n"
    assert [item["name"] for item in json.loads(run("list", "--json").stdout)] == ["web", "b"]
    assert run("instances").stdout == "ins_1\th\tonline\t-\n"
    assert "online" in run("instance", "h").stdout


DISK = {
    "instance_id": "ins_1",
    "time": "2026-11-24T09:30:00.000Z",
    "space": {
        "total_bytes": 40 << 30,
        "free_bytes": 1536 << 20,
        "total_inodes": 90,
        "free_inodes": 8,
        "reserve_bytes": 1 << 30,
        "reserve_inodes": 2,
    },
    "measured_at": None,
    "shared": {"trash": {"bytes": 0, "entries": 1}, "toolchains": {"bytes": 700 << 20, "entries": 9}},
    "services": [
        {
            "id": "svc_1",
            "name": "web",
            "bytes": 900 << 20,
            "parts": {"logs": {"bytes": 512, "entries": 2}, "releases": {"bytes": 900 << 20, "entries": 30}},
        },
        {"id": "svc_2", "name": None, "bytes": 2048, "parts": {"logs": {"bytes": 2048, "entries": 1}}},
    ],
}


def test_what_uses_the_disk_is_listed_with_the_largest_owner_first(run, server) -> None:
    server.on("GET", "/v1/instances", (200, page({"id": "ins_1", "name": "h"})))
    server.on("GET", "/v1/instances/h/disk", (200, DISK))
    said = run("disk").stdout
    assert "1.5 GiB of 40.0 GiB" in said and "8 of 90" in said and "not yet" in said
    table = [line.split("\t") for line in said.splitlines() if "\t" in line]
    assert table == [
        ["web", "releases", "900.0 MiB", "30"],
        ["web", "logs", "512 bytes", "2"],
        ["-", "toolchains", "700.0 MiB", "9"],
        ["svc_2", "logs", "2.0 KiB", "1"],
    ]
    assert json.loads(run("disk", "h", "--json").stdout) == DISK


def test_with_several_hosts_the_disk_of_one_must_be_named(run, server) -> None:
    server.on("GET", "/v1/instances", (200, page({"id": "ins_1", "name": "a"}, {"id": "ins_2", "name": "b"})))
    refused = run("disk")
    assert refused.exit_code != 0 and "name one of a, b" in refused.stderr


def test_routes_are_added_listed_and_removed(run, server) -> None:
    route = {"id": "rte_1", "domain": "a.test", "path": "/", "service_id": "svc_1", "port": 3000, "status": "active"}
    server.on("GET", "/v1/deployments/web", (200, deployment()))
    server.on("POST", ROUTES, (201, route))
    server.on("GET", ROUTES, (200, page(route)))
    server.on("DELETE", f"{ROUTES}/rte_1", (204, None))
    assert run("proxy", "add", "--domain", "a.test", "--service", "web").exit_code == 0
    assert server.bodies("POST", ROUTES) == [{"domain": "a.test", "service_id": "web", "port": 3000}]
    assert run("proxy", "list").stdout.startswith("a.test\t/\tsvc_1\t3000\tactive")
    assert run("proxy", "remove", "--domain", "A.test").exit_code == 0
    assert run("proxy", "remove", "--domain", "b.test").exit_code == 1


def test_delete_can_wait_until_it_is_gone(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (200, deployment()))
    server.on("DELETE", "/v1/deployments/dep_1", (202, deployment(status="deleting")))
    server.on("GET", "/v1/deployments/dep_1", (200, deployment(status="deleting")), (404, problem("not_found", "x")))
    assert run("delete", "web").stdout == "web is being deleted\n"
    assert run("delete", "web", "--wait").stdout == "web is deleted\n"


def test_help_loads_nothing_heavy() -> None:
    check = "import sys, dployr.cli; print(sorted({'httpx2', 'rich', 'ssl', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_processes_are_scaled_by_name(run, server) -> None:
    server.on("PATCH", "/v1/services/shop", (200, {"id": "svc_1"}))
    done = run("service", "scale", "shop", "worker=3", "web=2")
    assert (done.exit_code, done.stdout) == (0, "shop is scaled to worker=3 web=2\n")
    assert run("service", "scale", "shop", "mail=0").exit_code == 0
    assert server.bodies("PATCH", "/v1/services/shop") == [
        {"replicas": 2, "process_replicas": {"worker": 3}},
        {"process_replicas": {"mail": 0}},
    ]


@pytest.mark.parametrize("words", [(), ("worker",), ("worker=",), ("=3",), ("worker=many",), ("worker=1", "worker=2")])
def test_what_is_no_count_of_a_process_is_not_sent(run, server, words) -> None:
    assert run("service", "scale", "shop", *words).exit_code == 2
    assert server.seen == []
