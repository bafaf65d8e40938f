"""One installation for all tests of a run; each test leaves it running as it found it."""

import pathlib
from collections.abc import Iterator

import pytest

from tests.systemd import package
from tests.systemd.installation import Installation

FIRST, NEXT = "1.0.0", "1.0.1"
APP = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.environ['DPLOYR_RELEASE']} {os.getpid()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *words):
        print(*words, flush=True)
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """Two versions of this checkout."""
    place = tmp_path_factory.mktemp("wheels")
    return {version: package.build(version, place) for version in (FIRST, NEXT)}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, pathlib.Path]) -> Iterator[Installation]:
    if package.interpreter() is None:
        pytest.skip(f"no Python {package.MINOR} that every user may run, below /usr")
    made = Installation(tmp_path_factory.mktemp("installed"))
    try:
        made.install(wheels[FIRST])
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def app(installed: Installation) -> str:
    """The domain of an application that serves its release and its pid. Its name is `app`."""
    repository = installed.publish("app", app__py=APP)
    _, domain = installed.live("app", repository, runtime="python", run_cmd="exec python3 app.py")
    return domain
