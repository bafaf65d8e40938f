"""Applications that bind otherwise than most, and three of them in one repository."""

import pathlib

import pytest

from tests import pushes
from tests.e2e.platform import Platform
from tests.e2e.test_life import APP, PYTHON
from tests.e2e.test_switches import home_of
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(150)
AT = """
import http.server, os, socket

if ":" in os.environ["AT"]:
    http.server.HTTPServer.address_family = socket.AF_INET6
"""
AT_HOST = AT + APP.replace('"127.0.0.1"', 'os.environ["AT"]')
LATE = """
import os, pathlib, time

while not pathlib.Path(os.environ["HOME"], "go").exists():
    time.sleep(0.02)
"""
NEVER = "import time\nprint('warming up', flush=True)\ntime.sleep(100000)\n"


def test_an_app_is_reached_at_the_address_that_it_binds_or_told_which_it_must(platform: Platform, repository) -> None:
    repository.commit(app__py=AT_HOST, words="bound")
    good, bad = (
        {"loopback": "127.0.0.1", "all-of-ipv4": "0.0.0.0", "all-of-both": "::"},
        {"other-loopback": "127.0.0.2"},
    )
    services = {}
    for name, address in (good | bad).items():
        fields = {**PYTHON, "env": {"AT": address}, "health_check": {"start_period": 30 if name in good else 2}}
        services[name] = platform.deploy(name, repository, **fields)["service_id"]
    for name in good:
        assert platform.settled(name, 1)["status"] == "running", name
        platform.says(platform.route(name, services[name]), "bound 1 ".__eq__)
    for name in bad:
        found = platform.settled(name, 1)
        assert found["status"] == "failed"
        assert "make it listen at 127.0.0.1" in found["status_reason"]


def test_an_app_that_binds_late_is_live_once_it_does(platform: Platform, repository) -> None:
    repository.commit(app__py=LATE + APP, words="late")
    made = platform.deploy("late", repository, **PYTHON)
    domain = platform.route("late", made["service_id"])
    checked = "/v1/deployments/late/releases/1"
    wait_until(lambda: platform.call("GET", checked)["state"] == "checking", 60, "the health check")
    assert platform.get(domain)[0] != 200
    (home_of(platform, "late") / "go").touch()
    assert platform.settled("late", 1)["status"] == "running"
    platform.says(domain, "late 1 ".__eq__)


def test_an_app_that_never_binds_fails_with_its_last_words_and_ends(platform: Platform, repository) -> None:
    repository.commit(app__py=NEVER)
    platform.deploy("never", repository, **PYTHON, health_check={"start_period": 2})
    found = platform.settled("never", 1)
    assert found["status"] == "failed"
    assert "the app did not listen on $PORT" in found["status_reason"]
    assert "within 2 s" in found["status_reason"]
    wait_until(lambda: platform.pids("never") == [], 60, "the end of its process")


SITE = "<p>a page of {}</p>"
PARTS = {
    "shop-api": {**PYTHON, "working_dir": "api"},
    "shop-site": {"runtime": "static", "working_dir": "site"},
    "shop-mail": {
        "runtime": "python",
        "build_cmd": "true",
        "working_dir": "mail",
        "processes": {"worker": "python mail.py"},
    },
}


def test_one_push_deploys_all_three_apps_of_a_repository_from_one_mirror(platform: Platform, repository) -> None:
    mirrors = platform.data / "agent" / "cache" / "git"
    before = seen(mirrors)

    def commit(words: str) -> str:
        mail = f"import time\nprint('mails of {words}', flush=True)\ntime.sleep(100000)\n"
        return repository.commit(**{"api/words": words, "site/index.html": SITE.format(words), "mail/mail.py": mail})

    repository.commit(**{"api/app.py": APP})
    commit("monday")
    made = {name: platform.deploy(name, repository, **fields) for name, fields in PARTS.items()}
    api, site = (
        platform.route(name, made[name]["service_id"], made[name]["port"]) for name in ("shop-api", "shop-site")
    )
    for name in PARTS:
        assert platform.settled(name, 1)["status"] == "running", name
    hooks = {name: platform.call("POST", f"/v1/deployments/{name}/hook") for name in PARTS}
    pushed = commit("tuesday")
    for hook in hooks.values():
        sent = pushes.from_github(hook["secret"], pushes.github(after=pushed))
        assert push(platform, hook["url"], sent)["status"] == "accepted"
    for name in PARTS:
        found = platform.settled(name, 2)
        assert (found["status"], found["commit"]) == ("running", pushed), found
    platform.says(api, "tuesday 2 ".__eq__)
    platform.says(site, SITE.format("tuesday").__eq__)
    mailed = f"/v1/services/{made['shop-mail']['service_id']}/logs?release=2&process=worker.1"
    wait_until(lambda: [one["line"] for one in platform.call("GET", mailed)["data"]] == ["mails of tuesday"])
    assert len(seen(mirrors) - before) == 1


def seen(mirrors: pathlib.Path) -> set[str]:
    return {head.parent.name for head in mirrors.glob("*/HEAD")}


def push(platform: Platform, url: str, sent: pushes.Sent) -> dict:
    return platform.call("POST", f"/v1/{url.partition('/v1/')[2]}", sent.body, sent.headers)
