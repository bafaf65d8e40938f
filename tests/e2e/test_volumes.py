"""A directory that outlives releases, from the API to the app and back: written, kept, backed up, lost, restored, deleted."""

import http.client
import os
import pathlib
import tarfile

import pytest

from tests.e2e.platform import Platform
from tests.e2e.test_life import PYTHON
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(150)

# GET says its release and what is kept; POST keeps the body; DELETE forgets it.
APP = """
import http.server, os, pathlib

KEPT = pathlib.Path("data/notes/kept")
assert pathlib.Path(os.environ["DPLOYR_VOLUME_DATA"]).samefile("data")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.say(f"{os.environ['DPLOYR_RELEASE']} {KEPT.read_text() if KEPT.exists() else 'nothing'}")

    def do_POST(self):
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
        self.say("kept")

    def do_DELETE(self):
        KEPT.unlink()
        self.say("forgotten")

    def say(self, words):
        self.send_response(200)
        self.send_header("Content-Length", str(len(words)))
        self.end_headers()
        self.wfile.write(words.encode())

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
VOLUMES = [{"name": "data", "mount": "data"}]


def ask(platform: Platform, domain: str, method: str, body: str | None = None) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", platform.proxy, timeout=10)
    try:
        connection.request(method, "/", body, {"Host": domain, "Connection": "close"})
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()
    finally:
        connection.close()


def command(platform: Platform, *words: str) -> str:
    done = platform.command(*words)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def test_what_an_app_keeps_outlives_its_releases_and_comes_back_from_a_backup(
    platform: Platform, repository, tmp_path: pathlib.Path
) -> None:
    repository.commit(app__py=APP)
    found, domain = platform.live("keeper", repository, volumes=VOLUMES, **PYTHON)
    service = platform.data / "agent/services" / found["service_id"]
    ask(platform, domain, "POST", "first words")
    platform.says(domain, "1 first words".__eq__)
    assert command(platform, "run", "keeper", "--", "cat", "data/notes/kept") == "first words"

    platform.call("POST", "/v1/deployments/keeper/redeploy", {})
    assert platform.settled("keeper", 2)["status"] == "running"
    platform.says(domain, "2 first words".__eq__)

    archive = tmp_path / "keeper.tar.gz"
    assert "data of keeper is in" in command(platform, "volume", "backup", "keeper", "data", "-o", str(archive))
    with tarfile.open(archive) as opened:
        assert sorted(opened.getnames()) == ["notes", "notes/kept"]

    ask(platform, domain, "DELETE")
    platform.says(domain, "2 nothing".__eq__)
    refused = platform.command("volume", "restore", "keeper", "data", str(archive))
    assert refused.returncode != 0
    assert "is not stopped; stop it first" in refused.stderr

    platform.call("POST", "/v1/services/keeper/stop")
    wait_until(lambda: not platform.call("GET", "/v1/services/keeper")["processes"], 60, "the service to stop")
    assert "data of keeper is restored" in command(platform, "volume", "restore", "keeper", "data", str(archive))
    assert "DPLOYR_VOLUME_DATA" in command(platform, "volume", "list", "keeper")
    assert os.listdir(service / "volumes") == ["data"]

    platform.call("POST", "/v1/services/keeper/start")
    platform.says(domain, "2 first words".__eq__)

    command(platform, "delete", "keeper", "--wait")
    assert not (service / "volumes").exists()


def test_a_source_that_has_something_where_a_volume_comes_fails_its_release_and_says_so(
    platform: Platform, repository
) -> None:
    repository.commit(app__py=APP, **{"data/seed": "x"})
    platform.deploy("seeded", repository, volumes=VOLUMES, **PYTHON)
    failed = platform.settled("seeded", 1)
    assert failed["status"] == "failed", failed
    release = platform.call("GET", "/v1/deployments/seeded/releases/1")
    assert release["reason"] == "volume_conflict"
    assert "such as seed; move that, or give the volume data another mount" in failed["status_reason"]
