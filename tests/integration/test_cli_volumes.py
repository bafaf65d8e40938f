"""`dployr volume`, and volumes in `dployr deploy`, against a small HTTP server that plays the control plane."""

import gzip
import os
import pathlib

import pytest

from tests.integration.test_cli_commands import deployment, page, problem, releases
from tests.integration.test_cli_commands import run as run  # noqa: PLC0414 - the fixture
from tests.integration.test_cli_commands import server as server  # noqa: PLC0414 - the fixture

ARCHIVE = "/v1/services/web/volumes/data/archive"
VOLUME = {"name": "data", "mount": "data", "variable": "DPLOYR_VOLUME_DATA"}


def test_a_backup_is_written_whole(run, server, tmp_path: pathlib.Path) -> None:
    packed = gzip.compress(os.urandom(1 << 20) + bytes(50 << 20))
    server.on("GET", ARCHIVE, (200, packed))
    target = tmp_path / "data.tar.gz"
    done = run("volume", "backup", "web", "data", "-o", str(target))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"data of web is in {target}, {len(packed) / 1e6:.1f} MB\n"
    assert target.read_bytes() == packed
    assert os.listdir(tmp_path) == ["data.tar.gz"]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (gzip.compress(os.urandom(100_000))[:-20], "it broke off"),
        (b"no gzip at all", "cannot use what came"),
        (b"", "broke off"),
    ],
)
def test_a_backup_that_is_not_whole_is_no_file_and_spares_the_one_before(run, server, tmp_path, sent, words) -> None:
    server.on("GET", ARCHIVE, (200, sent))
    target = tmp_path / "data.tar.gz"
    target.write_text("before")
    done = run("volume", "backup", "web", "data", "-o", str(target))
    assert done.exit_code == 1
    assert words in done.stderr
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["data.tar.gz"]


def test_a_backup_that_is_refused_says_why(run, server, tmp_path) -> None:
    server.on("GET", ARCHIVE, (503, problem("unavailable", "cannot reach the volume data: its instance is away")))
    done = run("volume", "backup", "web", "data", "-o", str(tmp_path / "x"))
    assert done.exit_code != 0
    assert "its instance is away" in done.stderr
    assert os.listdir(tmp_path) == []
    done = run("volume", "backup", "web", "data", "-o", str(tmp_path / "none" / "x"))
    assert done.exit_code != 0


def test_a_file_is_restored_as_it_is(run, server, tmp_path) -> None:
    file = tmp_path / "data.tar.gz"
    file.write_bytes(gzip.compress(os.urandom(1 << 20)))
    server.on("PUT", ARCHIVE, (200, VOLUME))
    done = run("volume", "restore", "web", "data", str(file))
    assert done.exit_code == 0, done.output
    assert done.stdout == "data of web is restored; start it with `dployr service start web`\n"
    assert server.bodies("PUT", ARCHIVE) == [file.read_bytes()]
    server.on("PUT", ARCHIVE, (409, problem("conflict", "cannot restore the volume data: it is not stopped")))
    done = run("volume", "restore", "web", "data", str(file))
    assert done.exit_code == 1
    assert "it is not stopped" in done.stderr


def test_volumes_are_listed(run, server) -> None:
    server.on("GET", "/v1/services/web/volumes", (200, page(VOLUME)))
    assert "DPLOYR_VOLUME_DATA" in run("volume", "list", "web").stdout
    assert '"mount": "data"' in run("volume", "list", "web", "--json").stdout


def test_deploy_declares_volumes(run, server) -> None:
    server.on("GET", "/v1/deployments/web", (404, problem("not_found", "no web")))
    server.on("POST", "/v1/deployments", (201, deployment()))
    server.on("GET", "/v1/deployments/dep_1", (200, deployment()))
    releases(server, "live")
    options = ("--remote", "https://git.test/a", "--volume", "data:data", "--volume", "log:var/log")
    done = run("deploy", "--name", "web", *options)
    assert done.exit_code == 0, done.output
    (body,) = server.bodies("POST", "/v1/deployments")
    assert body["volumes"] == [{"name": "data", "mount": "data"}, {"name": "log", "mount": "var/log"}]
    done = run("deploy", "--name", "web", "--volume", "data")
    assert done.exit_code == 2
    assert "is not NAME:MOUNT" in done.stderr
