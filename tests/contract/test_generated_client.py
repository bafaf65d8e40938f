"""A client that a stranger's generator makes of the served document works against the server."""

import json
import os
import subprocess
import sys

import pytest

from tests import api_fixtures

PROGRAM = """
import json, sys
from made_client import AuthenticatedClient, Client
from made_client.api.auth import auth_login
from made_client.api.deployments import deployments_create, deployments_list
from made_client.models import DeploymentCreate, ErrorEnvelope, LoginInput

address, email, password = sys.argv[1:]
anonymous = Client(base_url=address)
refused = deployments_list.sync(client=anonymous)
assert isinstance(refused, ErrorEnvelope), refused
tokens = auth_login.sync(client=anonymous, body=LoginInput(email=email, password=password))
client = AuthenticatedClient(base_url=address, token=tokens.access_token)
fields = DeploymentCreate.from_dict(json.load(sys.stdin))
made = deployments_create.sync_detailed(client=client, body=fields)
assert made.status_code == 201, made.content
page = deployments_list.sync(client=client, limit=10)
print(json.dumps({"code": refused.error.code, "names": [found.name for found in page.data], "next": page.next_cursor}))
"""


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane() as pair:
        yield pair


@pytest.fixture(scope="module")
def package(running, tmp_path_factory):
    """The directory in which the generated package lies. The generator's own tidying needs programs; it is left out."""
    directory = tmp_path_factory.mktemp("generated")
    (directory / "openapi.json").write_bytes(running[1].get("/v1/openapi.json").body)
    settings = {"post_hooks": [], "package_name_override": "made_client"}
    (directory / "config.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none", "--fail-on-warning"]
    command += ["--path", "openapi.json", "--config", "config.json", "--output-path", "made_client"]
    made = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    return directory


def test_it_imports_logs_in_and_lists_deployments(running, package):
    command = [sys.executable, "-c", PROGRAM, f"http://127.0.0.1:{running[1].port}"]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    ran = subprocess.run(
        [*command, api_fixtures.EMAIL, api_fixtures.PASSWORD],
        input=json.dumps(api_fixtures.NODE_APP),
        env=environment,
        cwd=package,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"code": "unauthorized", "names": ["my-app"], "next": None}


def test_it_has_a_function_for_every_operation(running, package):
    document = json.loads((package / "openapi.json").read_text())
    for item in document["paths"].values():
        for operation in item.values():
            name = f"{operation['tags'][0]}/{operation['operationId']}.py"
            assert (package / "made_client" / "api" / name).is_file(), f"{name}: the generator left it out"
