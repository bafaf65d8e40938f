"""An app that hangs while it serves: it answers again by itself, and its neighbours never notice."""

import threading

import pytest

from tests.e2e.platform import Load, Platform
from tests.e2e.test_life import APP, PYTHON
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(100)

HANGS = APP.replace(
    "        body =",
    "        if self.path == '/hang':\n            import threading\n            threading.Event().wait()\n        body =",
)
CHECK = {"path": "/health", "interval": "1s", "timeout": "1s", "start_period": 30}


def test_an_app_that_hangs_is_replaced_and_answers_again(platform: Platform, repository) -> None:
    repository.commit(app__py=HANGS, words="up")
    _, neighbour = platform.live("steady", repository, **PYTHON)
    _, domain = platform.live("hangs", repository, health_check=CHECK, **PYTHON)
    before = platform.pids("hangs")
    with Load(platform, neighbour, rate=40, threads=4) as load:
        asked = threading.Thread(target=platform.get, args=(domain, "/hang"), daemon=True)
        asked.start()
        wait_until(lambda: platform.pids("hangs") not in (before, [0]), 60, "another process")
        platform.says(domain, "up 1 ".__eq__)
        asked.join(20)
    assert load.failed == []

    found = wait_until(lambda: well(platform), 30, "the service to be healthy again")
    (process,) = found["processes"]
    assert (process["restarts"], process["crash"]["kind"]) == (1, "unhealthy")
    assert process["crash"]["message"] == "no answer within 1 s twice"
    assert platform.call("GET", f"/v1/services/{found['id']}")["message"] == ""
    told = platform.call("GET", f"/v1/events?subject={found['id']}")["data"]
    assert [one["type"] for one in told][-2:] == ["service.unhealthy", "service.recovered"]
    assert "web.1 is unhealthy: no answer within 1 s twice" in str(told[-2])


def well(platform: Platform) -> dict:
    found = platform.call("GET", "/v1/services/hangs")
    return found if found["health"] == "healthy" else {}
