"""The floor of `make bench-deploy`: the commands of a deployment as a person would give them, without us."""

import os
import pathlib
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable

from tests.e2e.platform import Repository, free_port

LOOK_S = 0.002


def seconds(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Look often: what is waited for is measured."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench-deploy: {what} did not come within {timeout_s:g} s")
        time.sleep(LOOK_S)


class ByHand:
    """A clone, `npm ci` and `node server.js`; `directory` is its own."""

    def __init__(self, source: Repository, directory: pathlib.Path) -> None:
        self._source, self._directory = source, directory
        self._tree, self._cache = directory / "tree", directory / "npm-cache"
        directory.mkdir()

    def cold(self) -> float:
        """Clone, install with an empty cache, start, first answer."""
        shutil.rmtree(self._cache, ignore_errors=True)
        return self._deployed()

    def warm(self) -> float:
        """The same with the cache that is there."""
        return self._deployed()

    def boot(self) -> float:
        """The app alone: start, first answer."""
        return seconds(self._started)

    def _deployed(self) -> float:
        shutil.rmtree(self._tree, ignore_errors=True)

        def run() -> None:
            remote, target = self._source.as_uri(), str(self._tree)
            subprocess.run(["git", "clone", "--quiet", "--depth=1", remote, target], check=True)
            subprocess.run(["npm", "ci", "--silent"], cwd=self._tree, env=self._environment(), check=True)
            self._started()

        return seconds(run)

    def _started(self) -> None:
        port = free_port()
        child = subprocess.Popen(
            ["node", "server.js"], cwd=self._tree, env=self._environment(PORT=str(port)), stdout=subprocess.DEVNULL
        )
        try:
            until(lambda: _answers(port), 30, "the app started by hand")
        finally:
            child.kill()
            child.wait()

    def _environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, "CI": "1", "npm_config_cache": str(self._cache), **more}


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False
