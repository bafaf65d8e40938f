"""A port that a stranger takes while its app is down, seen through the real proxy: 502, never the stranger's page."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests.e2e.platform import FRAGILE, Platform
from tests.e2e.test_life import PYTHON
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.timeout(100),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a process of another user"),
]
THIEF = """
import encodings.idna, http.server, os, sys
os.setgid(64322)
os.setuid(64322)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"stolen")

server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("has it", flush=True)
server.serve_forever()
"""
DOWN = (502, "The application is not running.\n")


def test_while_an_app_is_down_a_stranger_at_its_port_gets_no_request(platform: Platform, repository) -> None:
    repository.commit(app__py=FRAGILE)
    found, domain = platform.live("victim", repository, **PYTHON)
    (process,) = platform.call("GET", "/v1/services/victim")["processes"]
    home = pathlib.Path(f"/proc/{process['pid']}/environ").read_bytes()
    marker = pathlib.Path(next(w for w in home.split(b"\0") if w.startswith(b"HOME="))[5:].decode(), "down")
    platform.get(domain, "/down")
    wait_until(lambda: platform.get(domain) == DOWN, 20, "the proxy to know")
    thief = subprocess.Popen([sys.executable, "-c", THIEF, str(process["port"])], stdout=subprocess.PIPE, text=True)
    try:
        assert thief.stdout.readline() == "has it\n"
        assert {platform.get(domain) for _ in range(50)} == {DOWN}
        marker.unlink()
        platform.call("POST", f"/v1/services/{found['service_id']}/restart")
        wait_until(lambda: platform.get(domain) == (200, "mine"), 40, "the app at another port")
    finally:
        thief.kill()
        thief.communicate()
