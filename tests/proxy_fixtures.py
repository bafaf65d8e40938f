"""Real nginx on free ports, upstream servers, and clients for the proxy's tests."""

import asyncio
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from node_agent import errors, ports
from node_agent.clock import SystemClock
from node_agent.model import spec
from node_agent.paths import Paths
from node_agent.proxy import render
from node_agent.proxy.transaction import NginxProxy
from tests.waiting import wait_until

NGINX = next((p for p in ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx") if os.access(p, os.X_OK)), None)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


def an_id(prefix: str, number: int) -> str:
    return f"{prefix}_{number:026d}"


def a_route(number: int, domain: str, path: str = "/", **options: Any) -> spec.RouteSpec:
    return spec.RouteSpec(an_id("rte", number), domain, path, spec.RouteOptions(**options))


def a_site(number: int, port: int, *routes: spec.RouteSpec) -> ports.Site:
    return ports.Site(an_id("svc", number), ports.Upstream(1, (port,)), routes)


def a_static_site(number: int, root: str, *routes: spec.RouteSpec) -> ports.Site:
    return ports.Site(an_id("svc", number), ports.Upstream(1, (), root), routes)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class LocalNginx:
    """The supervisor's three verbs on the proxy, as plain child processes of the test."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.master: subprocess.Popen[bytes] | None = None
        self.tests = 0
        self.reloads = 0

    def _command(self, configuration: str, *options: str) -> list[str]:
        root = self.paths.proxy
        assert NGINX
        self.paths.nginx.mkdir(parents=True, exist_ok=True)
        return [NGINX, "-p", str(root), "-e", str(self.paths.nginx_log), "-c", str(root / configuration), *options]

    async def proxy_test(self, generation: int) -> tuple[bool, str]:
        self.tests += 1
        command = self._command(f"generations/{generation}/nginx.conf", "-t")
        ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=False)
        return ran.returncode == 0, ran.stderr

    async def proxy_ensure(self) -> bool:
        if self.master is not None and self.master.poll() is None:
            return False
        self.master = subprocess.Popen(
            self._command("current/nginx.conf"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/"
        )
        return True

    async def proxy_reload(self) -> None:
        self.reloads += 1
        if self.master is None or self.master.poll() is not None:
            raise errors.SupervisorRefusedError("cannot reload nginx: it does not run")
        self.master.send_signal(signal.SIGHUP)

    def workers(self) -> list[int]:
        assert self.master
        return [
            int(pid)
            for pid in pathlib.Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children").read_text().split()
        ]

    def kill(self) -> None:
        """SIGKILL of master and workers, as a host that runs out of memory would do it."""
        if self.master is None or self.master.poll() is not None:
            return
        workers = self.workers()
        self.master.kill()
        self.master.wait()
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not any(_alive(pid) for pid in workers), what="the end of nginx's workers")


def _alive(pid: int) -> bool:
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


class Rig:
    """A proxy with everything around it."""

    def __init__(self, root: pathlib.Path) -> None:
        self.paths = Paths(root)
        self.nginx = LocalNginx(self.paths)
        self.settings = render.ProxySettings("127.0.0.1", free_port())

    def proxy(self, supervisor: LocalNginx | None = None) -> NginxProxy:
        """A new agent's view of the same host."""
        return NginxProxy(self.paths, supervisor or self.nginx, self.settings, SystemClock())

    async def get(self, host: str, path: str = "/", *headers: str) -> tuple[int, str]:
        """(status, body) of one request on a new connection."""
        status, _, body = await self.ask(host, path, *headers)
        return status, body

    async def ask(self, host: str, path: str = "/", *headers: str) -> tuple[int, dict[str, str], str]:
        """The same with the headers of the answer, their names in lower case."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.settings.port)
        try:
            lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: close", *headers]
            writer.write("\r\n".join([*lines, "", ""]).encode())
            answer = await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
        return int(head.split(b" ")[1]), {name.lower(): value for name, _, value in fields}, body.decode()


@contextlib.asynccontextmanager
async def stream_server(handle):
    """A TCP server on the loop; `handle(reader, writer)` per connection, all ended and closed at the end."""
    running = set()

    async def serve(reader, writer):
        running.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Upstream:
    """Answers every request with its name; `/echo` with the request line and the headers as it got them."""

    def __init__(self, name: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                text = f"{self.requestline}\n{self.headers}" if self.path.endswith("/echo") else name
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
