"""A git host on loopback: real git behind https, and the ways in which a bad one misbehaves."""

import base64
import dataclasses
import http.server
import pathlib
import ssl
import subprocess
import threading

import trustme

BACKEND = "/usr/lib/git-core/git-http-backend"


@dataclasses.dataclass
class Manners:
    """How the host behaves. `pair`: the credential that it wants; `old`: it knows the first protocol alone, in which a
    commit that no ref names is not given out; `smart`: for so many looks at its refs it speaks git, later it is files.
    """

    pair: str = ""
    redirect_to: str = ""
    old: bool = False
    smart: int = 1_000_000
    before_pack: object = None


class Handler(http.server.BaseHTTPRequestHandler):
    server: "GitServer"

    def do(self) -> None:
        manners = self.server.manners
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length) if length else b""
        self.server.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        if manners.redirect_to:
            return self.plain(302, Location=manners.redirect_to + self.path)
        wanted = f"Basic {base64.b64encode(manners.pair.encode()).decode()}"
        if manners.pair and self.headers.get("Authorization") != wanted:
            return self.plain(401, **{"WWW-Authenticate": 'Basic realm="git"'})
        if self.command == "POST" and manners.before_pack and b"want " in body:
            manners.before_pack()
        return self.serve(body)

    do_GET = do_POST = do  # noqa: N815

    def plain(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def serve(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        if path.endswith("/info/refs"):
            self.server.manners.smart -= 1
            query = query if self.server.manners.smart >= 0 else ""
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        if not self.server.manners.old:
            env["GIT_PROTOCOL"] = self.headers.get("Git-Protocol", "")
        done = subprocess.run([BACKEND], env=env, input=body, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in {**lines, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class GitServer(http.server.ThreadingHTTPServer):
    """Serves the repositories below `root`. `ca_file` is who vouches for it; `asked` is what it was asked."""

    def __init__(self, root: pathlib.Path, ca_file: pathlib.Path, authority: trustme.CA | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.ca_file = root, ca_file
        self.manners = Manners()
        self.asked: list[tuple[str, str, str]] = []
        self.authority = authority or trustme.CA()
        self.authority.cert_pem.write_to_path(str(ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("localhost").configure_cert(context)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def remote(self, name: str) -> str:
        return f"https://localhost:{self.server_port}/{name}"

    def handle_error(self, *_: object) -> None:
        """A client that goes away in the middle is what some tests are about."""

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
