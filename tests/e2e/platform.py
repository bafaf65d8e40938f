"""The whole product on this machine, driven as a person would: `dployr up`, the public API, real git, real nginx."""

import contextlib
import http.client
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

from tests.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
EMAIL = "admin@example.test"
FINAL = {"running", "failed", "cancelled", "stopped"}

# Says "mine" until it is asked for /down; from then on it ends as soon as it is started.
FRAGILE = """
import http.server, os, pathlib

down = pathlib.Path(os.environ["HOME"], "down")
if down.exists():
    raise SystemExit("the database is not there")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/down":
            down.touch()
            os._exit(1)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"mine")

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


class Refused(Exception):
    """The API said no: `status` and the error envelope."""

    def __init__(self, status: int, body: Any, headers: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body, self.headers = status, body, headers

    @property
    def error(self) -> dict[str, Any]:
        return self.body["error"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Platform:
    """One data directory; `start` and `stop` may be called again and again."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.api, self.proxy = free_port(), free_port()
        self.password = secrets.token_hex(12)
        self._password_file = directory / "password"
        self._password_file.write_text(self.password)
        self._password_file.chmod(0o600)
        self.up: subprocess.Popen[bytes] | None = None
        self.token = ""

    def start(self) -> None:
        log = (self.directory / "up.log").open("ab")
        command = [
            *(sys.executable, "-m", "dployr", "up", "--data-dir", str(self.data)),
            *("--api", f"127.0.0.1:{self.api}", "--proxy", f"127.0.0.1:{self.proxy}"),
            *("--admin-email", EMAIL, "--admin-password-file", str(self._password_file), "--allow-file-remotes"),
        ]
        unlimited = {"DPLOYR_RATE_LIMIT_USER": "1000000", "DPLOYR_RATE_LIMIT_ANONYMOUS": "1000000"}
        environment = {**os.environ, **unlimited}
        self.up = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        log.close()
        wait_until(self._ready, 90, f"readiness ({self.directory / 'up.log'})")
        self.login()

    def _ready(self) -> bool:
        assert self.up is not None
        assert self.up.poll() is None, (self.directory / "up.log").read_text()
        return self.ready()

    def ready(self) -> bool:
        with contextlib.suppress(OSError, Refused, http.client.HTTPException):
            self.call("GET", "/ready")
            return True
        return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.up is not None
        self.up.send_signal(number)
        code = self.up.wait(30)
        self.up = None
        return code

    def down(self) -> None:
        command = [sys.executable, "-m", "dployr", "down", "--data-dir", str(self.data)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=60, capture_output=True)
        if self.up is not None:
            self.up.wait(30)
            self.up = None

    # the API

    def login(self) -> None:
        answer = self.call("POST", "/v1/auth/login", {"email": EMAIL, "password": self.password})
        self.token = answer["access_token"]

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The decoded JSON answer; raises Refused for anything but 2xx."""
        sent = dict(headers or {})
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        url = f"http://127.0.0.1:{self.api}{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            raise Refused(error.code, json.loads(text) if text else None, error.headers) from None
        return json.loads(text) if text else None

    @contextlib.contextmanager
    def follow(self, path: str) -> Iterator[Iterator[dict[str, Any]]]:
        """The lines of a log as they come."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/x-ndjson"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.api}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=40) as response:
            yield (json.loads(line) for line in response if line.strip())

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One call of the command line, signed in by its environment."""
        signed_in = {"DPLOYR_SERVER": f"http://127.0.0.1:{self.api}", "DPLOYR_TOKEN": self.token}
        return subprocess.run(
            [sys.executable, "-m", "dployr", *words],
            cwd=ROOT,
            env={**os.environ, **signed_in},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def deploy(self, name: str, remote: pathlib.Path, **fields: Any) -> dict[str, Any]:
        wanted = {"name": name, "source": "remote", "remote": remote.as_uri(), "branch": "main", "port": 3000}
        return self.call("POST", "/v1/deployments", {**wanted, **fields})

    def route(self, name: str, service_id: str, port: int = 3000) -> str:
        domain = f"{name}.test"
        self.call("POST", "/v1/proxy/routes", {"domain": domain, "service_id": service_id, "port": port})
        return domain

    def settled(self, name: str, release: int, timeout: float = 120) -> dict[str, Any]:
        """The deployment once its newest release is number `release` and has come to an end."""

        def look() -> dict[str, Any] | None:
            with contextlib.suppress(OSError, http.client.HTTPException, Refused):
                found = self.call("GET", f"/v1/deployments/{name}")
                return found if found["release"] == release and found["status"] in FINAL else None
            return None

        return wait_until(look, timeout, f"release {release} of {name}")

    def live(self, name: str, remote: pathlib.Path, **fields: Any) -> tuple[dict[str, Any], str]:
        """Deploy and route; the deployment once it runs, and its domain."""
        made = self.deploy(name, remote, **fields)
        domain = self.route(name, made["service_id"])
        found = self.settled(name, 1)
        assert found["status"] == "running", found
        wait_until(lambda: self.in_force(domain), 20, f"the route of {domain}")
        wait_until(lambda: self.get(domain)[0] == 200, 20, f"{domain} through the proxy")
        return found, domain

    def put(self, name: str, **changes: Any) -> dict[str, Any]:
        before = self.call("GET", f"/v1/deployments/{name}")["release"]
        self.call("PUT", f"/v1/deployments/{name}", changes)
        return self.settled(name, before + 1)

    def pids(self, name: str) -> list[int]:
        found = self.call("GET", f"/v1/services/{name}")
        return sorted(process["pid"] for process in found["processes"])

    def in_force(self, domain: str) -> bool:
        """Whether the proxy serves the domain's routes as they are now, and no longer as they were."""
        routes = self.call("GET", f"/v1/proxy/routes?domain={domain}")["data"]
        return {route["status"] for route in routes} == {"active"}

    # traffic

    def says(self, domain: str, wanted: Callable[[str], bool]) -> str:
        """The first whole 200 whose body is `wanted`: a worker that nginx is ending may still give a former answer."""

        def look() -> str | None:
            status, body = self.get(domain)
            return body if status == 200 and wanted(body) else None

        return wait_until(look, 20, f"the answer of {domain}")

    def get(self, domain: str, path: str = "/") -> tuple[int, str]:
        """One request on a new connection through nginx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": domain, "Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    # faults

    def processes_of(self, module: str) -> list[int]:
        """Pids of `python -m <module>` for this data directory."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if module in words and any(word.startswith(str(self.data)) for word in words):
                    found.append(int(entry.name))
        return found

    def kill(self, module: str) -> None:
        """SIGKILL, and wait until that very process is gone."""
        (pid,) = self.processes_of(module)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: pid not in self.processes_of(module), 10, f"the end of {pid}")


class Load:
    """Requests at a steady rate on new connections, from several threads; counts every answer that is not 200."""

    def __init__(self, platform: Platform, domain: str, rate: int = 200, threads: int = 8) -> None:
        self._platform, self._domain = platform, domain
        self._interval = threads / rate
        self._ended = threading.Event()
        self.answers: list[tuple[int, str]] = []
        self._threads = [
            threading.Thread(target=self._run, args=(n * self._interval / threads,)) for n in range(threads)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        wait_until(lambda: len(self.answers) > 50, 20, "the load")
        return self

    def __exit__(self, *_: object) -> None:
        after = len(self.answers)
        wait_until(lambda: len(self.answers) > after + 50, 20, "the last of the load")
        self._ended.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, offset: float) -> None:
        due = time.monotonic() + offset
        while not self._ended.is_set():
            try:
                self.answers.append(self._platform.get(self._domain))
            except OSError as error:
                self.answers.append((0, repr(error)))
            except http.client.HTTPException as error:
                self.answers.append((0, repr(error)))
            due = max(due + self._interval, time.monotonic() - 1)
            self._ended.wait(max(0.0, due - time.monotonic()))

    @property
    def failed(self) -> list[tuple[int, str]]:
        return [answer for answer in self.answers if answer[0] != 200]


class Repository:
    """A real git repository that tests write into."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def commit(self, **files: str) -> str:
        """Write files (`__` in a keyword stands for a dot) and commit them; the commit id."""
        for name, text in files.items():
            target = self.path / name.replace("__", ".")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", "Change")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.test", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *identity, *arguments], cwd=self.path, check=True, capture_output=True, text=True)
        return done.stdout

    def as_uri(self) -> str:
        return self.path.as_uri()
