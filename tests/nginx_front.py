"""A real nginx in front of a real server, as an operator would put it there: shared connections, forwarded addresses.

It is impatient with its clients, so that no test waits long for it to hang up.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import pytest

from tests.waiting import wait_until

NGINX = next((p for p in ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx") if os.access(p, os.X_OK)), None)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
CONFIGURATION = """
daemon off;
worker_processes 1;
pid {root}/nginx.pid;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  {temporary}
  upstream control_plane {{
    {servers}
    keepalive 8;
  }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    client_header_timeout {patience_ms}ms;
    client_body_timeout {patience_ms}ms;
    send_timeout {patience_ms}ms;
    keepalive_timeout 100ms;
    lingering_close off;
    location / {{
      proxy_pass http://control_plane;
      proxy_http_version 1.1;
      proxy_request_buffering {buffering};
      proxy_buffering off;
      proxy_next_upstream off;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


@contextlib.contextmanager
def nginx_front(ports: Sequence[int], buffering: bool = True, patience_ms: int = 300) -> Iterator[int]:
    """Forwards to the servers on `ports` in turn; gives its own port. Ends nginx with its worker."""
    assert NGINX
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="front-") as directory:
        root = pathlib.Path(directory)
        text = CONFIGURATION.format(
            root=root,
            port=port,
            servers=" ".join(f"server 127.0.0.1:{number} max_fails=0;" for number in ports),
            temporary=" ".join(f"{name}_temp_path {root}/{name};" for name in TEMPORARY),
            buffering="on" if buffering else "off",
            patience_ms=patience_ms,
        )
        (root / "nginx.conf").write_text(text)
        command = [NGINX, "-p", str(root), "-e", str(root / "error.log"), "-c", str(root / "nginx.conf")]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        try:
            wait_until(lambda: process.poll() is not None or _listens(port), what="an nginx that listens")
            assert process.poll() is None, (root / "error.log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(20)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
