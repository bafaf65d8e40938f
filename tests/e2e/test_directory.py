"""A directory of this machine is deployed: packed, uploaded, unpacked, built and served by the real ones."""

import pathlib

import pytest

from tests.e2e.platform import Platform
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)
FILES = {
    "index.html": "one",
    ".gitignore": "*.log\n!.*\n",
    "debug.log": "hush",
    ".git/config": "hush",
    "sub/page.html": "below",
}


def deploy(platform: Platform, place: pathlib.Path, *more: str) -> str:
    done = platform.command("deploy", str(place), "--name", "folder", *more)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_directory_is_deployed_changed_and_recognised(platform: Platform, tmp_path: pathlib.Path) -> None:
    place, domain = tmp_path / "site", "folder.test"
    for name, text in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    said = deploy(platform, place, "--runtime", "static", "--domain", domain)
    assert "packed 4 entries" in said  # index.html, .gitignore, sub and what is in it
    wait_until(lambda: platform.in_force(domain), 20, f"the route of {domain}")
    platform.says(domain, lambda body: body == "one")
    assert platform.get(domain, "/sub/page.html") == (200, "below")
    assert platform.get(domain, "/debug.log")[0] == 404

    (place / "index.html").write_text("two")
    deploy(platform, place)
    platform.says(domain, lambda body: body == "two")

    deploy(platform, place)
    path = "/v1/deployments/folder/releases/3/logs"
    again = "unchanged since release 2: its build is used again"
    wait_until(lambda: any(again in one["line"] for one in platform.call("GET", path)["data"]), 20, "the build log")
