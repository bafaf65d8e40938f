"""A secret of an application, from the API to its process: it arrives, and is seen nowhere on the way."""

import contextlib
import hashlib
import pathlib
import re
import secrets
import subprocess

import pytest

from tests.e2e.platform import Platform

pytestmark = pytest.mark.timeout(300)

APP = """
import hashlib, http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = hashlib.sha256(os.environ["API_KEY"].encode()).hexdigest().encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
# What agent and supervisor must know to start the application again without the control plane; for their eyes alone.
ALLOWED = re.compile(r"agent/(agent/journal\.db\S*|records/\S+\.json)")


def test_a_secret_reaches_the_application_and_is_seen_nowhere_else(platform: Platform, repository) -> None:
    canaries = [f"canary{secrets.token_hex(16)}" for _ in range(2)]
    repository.commit(app__py=APP)
    found, domain = platform.live(
        "secretive", repository, runtime="python", build_cmd="env; ps axeww || true", run_cmd="python app.py",
        secrets={"API_KEY": canaries[0]}, env={"GREETING": "seen"},
    )  # fmt: skip
    platform.says(domain, digest(canaries[0]).__eq__)
    builds = [log_of(platform, 1)]
    assert "GREETING=seen" in builds[0]

    changed = {"key": "API_KEY", "value": canaries[1]}
    assert platform.call("POST", f"/v1/services/{found['service_id']}/env", changed)["value"] is None
    assert platform.settled("secretive", 2)["status"] == "running"
    platform.says(domain, digest(canaries[1]).__eq__)
    builds.append(log_of(platform, 2))
    assert "is used again" in builds[1]

    for canary in canaries:
        assert canary not in "".join(builds)
        assert canary not in (platform.directory / "up.log").read_text()
        assert (
            canary
            not in subprocess.run(["ps", "axww", "-o", "args"], check=False, capture_output=True, text=True).stdout
        )
        assert [line for line in environments_with(canary) if b"\0DPLOYR_SERVICE=svc_" not in line] == []
        holders = files_with(platform.data, canary)
        assert [name for name in holders if not ALLOWED.fullmatch(name)] == []
        assert [name for name in holders if is_open(platform.data / name)] == []


def environments_with(canary: str) -> list[bytes]:
    """The environments of all processes of the machine that hold it, as far as we may see them."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                found.append(b"\0" + (process / "environ").read_bytes())
    return [environment for environment in found if canary.encode() in environment]


def is_open(file: pathlib.Path) -> bool:
    """Whether somebody else could read it."""
    try:
        return bool(file.stat().st_mode & 0o077) and bool(file.parent.stat().st_mode & 0o077)
    except FileNotFoundError:
        return False


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def log_of(platform: Platform, release: int) -> str:
    lines = platform.call("GET", f"/v1/deployments/secretive/releases/{release}/logs?tail=5000")["data"]
    return "\n".join(line.get("line", "") for line in lines)


def files_with(directory: pathlib.Path, canary: str) -> list[str]:
    found = []
    for file in directory.rglob("*"):
        try:
            if file.is_file() and canary.encode() in file.read_bytes():
                found.append(str(file.relative_to(directory)))
        except OSError:  # gone meanwhile, or not for us to read
            continue
    return found
