"""A control plane that starts without an operator, and the commands for its keys beside it: the real program throughout."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import jwt
import pytest

from tests import api_fixtures, waiting

ROOT = pathlib.Path(__file__).parents[2]
HINT = re.compile(r'POST http://127\.0\.0\.1:(\d+)/v1/auth/setup {2}\{"token": "([0-9a-f]{64})"')
UNLIMITED = {"DPLOYR_RATE_LIMIT_USER": "1000000", "DPLOYR_RATE_LIMIT_ANONYMOUS": "1000000"}
ACCOUNT = {"email": "ada@example.com", "password": "correct horse battery"}


class Daemon:
    """One data directory; the program is started and stopped on it."""

    def __init__(self, directory):
        self.directory = directory
        self.data = directory / "data"
        self.process = None

    def program(self, *command):
        return [sys.executable, "-m", "control_plane", *command, "--data-dir", str(self.data)]

    def run(self, *command):
        environment = {**os.environ, **UNLIMITED}
        return subprocess.run(
            self.program(*command), cwd=ROOT, env=environment, capture_output=True, timeout=60, check=False, text=True
        )

    def start(self):
        addresses = ["--api", "127.0.0.1:0", "--hub", "127.0.0.1:0", "--enrol", "127.0.0.1:0"]
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            self.process = subprocess.Popen(
                [*self.program("run"), *addresses], cwd=ROOT, env={**os.environ, **UNLIMITED}, stdout=out, stderr=err
            )

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0, self.said("err")

    def said(self, name):
        assert self.process.poll() in {None, 0}, (self.directory / "err").read_text()
        return (self.directory / name).read_text()

    def hint(self):
        return waiting.wait_until(lambda: HINT.search(self.said("err")), 60, "the hint for the setup")

    def port(self):
        listening = re.compile(r"api\.listening\S*.*?\x1b?\[?\d*m?port\S*=\D*?(\d{4,5})\b")
        found = waiting.wait_until(lambda: listening.search(self.said("out")), 60, "the port of the API")
        return int(found[1])


@pytest.fixture
def daemon(tmp_path):
    made = Daemon(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait(30)


def kid(token):
    return jwt.get_unverified_header(token)["kid"]


def test_the_first_operator_is_made_with_the_printed_token_and_the_keys_are_replaced_beside_the_daemon(daemon):
    daemon.start()
    port, token = int(daemon.hint()[1]), daemon.hint()[2]
    client = api_fixtures.Client(port)
    for method, path in (
        ("GET", "/v1/deployments"),
        ("POST", "/v1/auth/login"),
        ("GET", "/v1/none"),
        ("GET", "/v1/version"),
    ):
        answer = client.request(method, path, {} if method == "POST" else None)
        assert (path, answer.status, answer.json["error"]["code"]) == (path, 503, "unavailable")
        assert answer.json["error"]["details"] == {"setup": "/v1/auth/setup"}
    assert client.get("/health").status == 200
    assert client.get("/ready").status == 503
    assert client.post("/v1/auth/setup", {**ACCOUNT, "token": "0" * 64}).status == 401
    made = client.post("/v1/auth/setup", {**ACCOUNT, "token": token})
    assert made.status == 201
    assert client.post("/v1/auth/setup", {**ACCOUNT, "token": token}).status == 409
    assert token not in daemon.said("out")
    assert daemon.said("err").count(token) == 1
    assert token.encode() not in (daemon.data / "control-plane.db").read_bytes()
    first = api_fixtures.Client(port, made.json["access_token"])
    assert first.get("/v1/auth/me").json["operator"] is True

    rotated = daemon.run("keys", "rotate-signing")
    assert (rotated.returncode, "new key" in rotated.stdout) == (0, True), rotated.stderr
    renewed = waiting.wait_until(lambda: _with_another_key(client, made.json), 30, "a token of the new key")
    assert first.get("/v1/auth/me").status == 200
    assert api_fixtures.Client(port, renewed["access_token"]).get("/v1/auth/me").status == 200
    assert client.post("/v1/auth/refresh", {"refresh_token": made.json["refresh_token"]}).status == 200

    sealed = daemon.run("keys", "rotate-sealing")
    assert (sealed.returncode, "secrets are sealed" in sealed.stdout) == (0, True), sealed.stderr
    assert len((daemon.data / "control-plane.db.keys").read_text().splitlines()) == 1
    assert client.post("/v1/auth/login", ACCOUNT).status == 200
    daemon.stop()

    daemon.start()
    again = api_fixtures.Client(daemon.port(), renewed["access_token"])
    assert again.get("/v1/auth/me").json["email"] == "ada@example.com"
    assert not HINT.search(daemon.said("err"))
    daemon.stop()


def _with_another_key(client, made):
    """A login signed by another key than before, if the daemon has it: it looks when it meets one that it does not know."""
    claims = jwt.decode(made["access_token"], options={"verify_signature": False})
    unknown = jwt.encode(claims, "x" * 64, "HS256", headers={"kid": "unknown"})
    assert api_fixtures.Client(client.port, unknown).get("/v1/auth/me").status == 401
    answer = client.post("/v1/auth/login", ACCOUNT).json
    return answer if kid(answer["access_token"]) != kid(made["access_token"]) else None


def test_a_wrong_command_and_a_wrong_directory_say_so_and_make_nothing(daemon):
    assert daemon.run("keys", "rotate-everything").returncode == 2
    answer = daemon.run("keys", "rotate-sealing")
    assert answer.returncode == 1
    assert "--data-dir" in answer.stderr
    assert not daemon.data.exists()


def test_the_setup_is_for_this_machine_alone():
    with api_fixtures.control_plane(trusted_hops=1) as (plane, client):
        anonymous = api_fixtures.Client(client.port)
        body = {**ACCOUNT, "token": "0" * 64}
        assert anonymous.post("/v1/auth/setup", body, **{"X-Forwarded-For": "192.0.2.1"}).status == 401
        assert anonymous.post("/v1/auth/setup", body, **{"X-Forwarded-For": "::ffff:127.0.0.1"}).status == 409
        assert anonymous.post("/v1/auth/setup", body, **{"X-Forwarded-For": "127.0.0.1"}).status == 409
        assert plane.services.accounts.setup.is_done


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        argv = [sys.executable, "-m", "control_plane", "--data-dir", str(tmp_path / "data"), f"--api={address}"]
        elsewhere = ["--hub=127.0.0.1:0", "--enrol=127.0.0.1:0"]
        done = subprocess.run([*argv, *elsewhere], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert f"cannot listen on {address}" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
