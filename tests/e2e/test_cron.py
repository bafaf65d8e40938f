"""Cron entries from the declaration to the log: with an application, out of a manifest, and all alone."""

import pytest

from tests.e2e.platform import Platform
from tests.e2e.test_life import APP, PYTHON
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(100)

SAYS_UID = APP.replace("open('words').read().strip()", "os.getuid()")
TIDY = "import os\nprint(os.getuid(), os.environ['DPLOYR_RELEASE'], os.environ.get('MOOD', ''), flush=True)\n"
EVERY_MINUTE = {"schedule": "* * * * *", "command": "python tidy.py"}


def ran(platform: Platform, name: str, outcome: str, entry: str = "tidy") -> dict:
    """The entry once it is told with `outcome`."""

    def look() -> dict | None:
        entries = platform.call("GET", f"/v1/services/{name}")["cron"]
        return next((one for one in entries if (one["name"], one["last_outcome"]) == (entry, outcome)), None)

    return wait_until(look, 30, f"{entry} of {name} {outcome}")


def lines(platform: Platform, name: str, entry: str = "tidy") -> set[str]:
    found = platform.call("GET", f"/v1/services/{name}/logs?process=cron.{entry}")["data"]
    return {line["line"] for line in found}


def test_an_entry_runs_beside_the_application_as_it_and_is_shown(platform: Platform, repository) -> None:
    manifest = (
        'cron:\n  report: {schedule: "@yearly", command: "true"}\n  tidy: {schedule: "@yearly", command: "false"}\n'
    )
    repository.commit(app__py=SAYS_UID, tidy__py=TIDY, dployr__yaml=manifest)
    found, domain = platform.live("tidy", repository, env={"MOOD": "calm"}, cron={"tidy": EVERY_MINUTE}, **PYTHON)
    assert found["cron"]["tidy"] == {**EVERY_MINUTE, "overlap": "skip", "timeout": 3600.0}
    assert {row["field"] for row in found["decided"]} >= {"cron.report.schedule", "cron.report.command"}
    assert not any(row["field"].startswith("cron.tidy") for row in found["decided"])

    told = ran(platform, "tidy", "exited(0)")
    assert told["last_started_at"] < told["next_at"]
    assert lines(platform, "tidy") == {platform.get(domain)[1]}
    report = next(one for one in platform.call("GET", "/v1/services/tidy")["cron"] if one["name"] == "report")
    assert (report["last_started_at"], report["next_at"][4:]) == (None, "-01-01T00:00:00.000Z")
    assert "cron.tidy\t* * * * *\t" in platform.command("service", "status", "tidy").stdout
    assert "cron tidy" in platform.command("get", "tidy").stdout

    plan = platform.call("PUT", "/v1/deployments/tidy?dry_run=true", {"cron": {"tidy": {"command": "exit 3"}}})
    assert plan["changes"][0]["data"]["changes"][0]["to"]["tidy"]["command"] == "exit 3"
    changed = platform.put("tidy", cron={"tidy": None, "fails": {"schedule": "* * * * *", "command": "exit 3"}})
    assert set(changed["cron"]) == {"fails"}
    ran(platform, "tidy", "exited(3)", "fails")
    platform.call("POST", "/v1/services/tidy/stop")
    wait_until(lambda: not platform.call("GET", "/v1/services/tidy")["cron"], 30, "the end of the entries")


def test_entries_alone_make_a_deployment(platform: Platform, repository) -> None:
    manifest = 'cron: {tidy: {schedule: "* * * * *", command: python tidy.py}}\n'
    repository.commit(tidy__py=TIDY, dployr__yaml=manifest)
    wanted = {"name": "chores", "source": "remote", "remote": repository.path.as_uri(), "runtime": "python"}
    platform.call("POST", "/v1/deployments", {**wanted, "build_cmd": "true"})
    found = platform.settled("chores", 1)
    assert found["status"] == "running", found
    ran(platform, "chores", "exited(0)")
    assert platform.call("GET", "/v1/services/chores")["processes"] == []
    assert [line.split()[1:] for line in lines(platform, "chores")] == [["1"]]
