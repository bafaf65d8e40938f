"""One platform for all end-to-end tests of a run: each test has deployments of its own."""

import asyncio
import pathlib
import shutil
import tempfile

import pytest

from node_agent.builder import trees
from tests.e2e.platform import ROOT, Platform, Repository

NODE_APP = """
const http = require("http");
const [release, version] = [process.env.DPLOYR_RELEASE, process.version];
http.createServer((request, response) => {
  if (request.url === "/health") { response.writeHead(HEALTH); return response.end(); }
  console.log("request " + request.url);
  response.end(JSON.stringify({ release, version, pid: process.pid, greeting: process.env.GREETING }));
}).listen(process.env.PORT, () => console.log("listening"));
process.on("SIGTERM", () => process.exit(0));
"""
PACKAGE = '{"name": "app", "version": "1.0.0", "private": true, "scripts": {"start": "node server.js"}}'


def node_app(health: int = 200) -> dict[str, str]:
    return {"server__js": NODE_APP.replace("HEALTH", str(health)), "package__json": PACKAGE}


@pytest.fixture(scope="session")
def platform():
    if shutil.which("nginx") is None and not pathlib.Path("/usr/sbin/nginx").exists():
        pytest.skip("nginx is not installed")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="dployr-platform-"))
    directory.chmod(0o711)  # run by root, apps have users of their own, who must be able to pass
    made = Platform(directory)
    try:
        made.start()
        yield made
    finally:
        made.down()
        assert left_over(made) == []
        asyncio.run(trees.delete(directory))  # toolchains are read-only, also for the user who made them


def seen_of(process: pathlib.Path, name: str) -> bytes:
    """Nothing of one that is gone, or whose file we may not read."""
    try:
        return (process / name).read_bytes()
    except OSError:
        return b""


def left_over(platform: Platform) -> list[str]:
    """Processes that still carry the data directory in their environment or command line."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            if str(platform.data).encode() in seen_of(entry, "cmdline") + seen_of(entry, "environ"):
                found.append(entry.name)
    return found


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def example(tmp_path: pathlib.Path):
    def make(name: str) -> Repository:
        made = Repository(tmp_path / name)
        shutil.copytree(ROOT / "examples" / name, made.path, dirs_exist_ok=True)
        made.commit()
        return made

    return make
