"""dployr under a real systemd: what is done to its units, to its package and to the host, while an application serves."""

import json
import pathlib

import pytest

from tests.systemd.conftest import FIRST, NEXT
from tests.systemd.installation import AGENT, CONTROL_PLANE, SUPERVISOR, UNITS, Installation
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
ALL = [pytest.param((unit,), id=unit) for unit in UNITS] + [pytest.param(UNITS, id="all of them")]


def replaced(installed: Installation, before: dict[str, int]) -> bool:
    """Does each of the units run, in another process than before?"""
    return all(installed.machine.main_pid(unit) not in {0, pid} for unit, pid in before.items())


def whole(installed: Installation) -> bool:
    return installed.ready() and installed.is_online()


def the_one(installed: Installation, app: str) -> str:
    """The pid of the application's only process, when it is also the one that answers."""
    pid = installed.get(app)[1].split()[-1]
    return pid if installed.pids("app") == [int(pid)] else ""


@pytest.mark.parametrize("unit", UNITS)
def test_each_unit_says_itself_that_it_is_ready_and_is_watched(installed: Installation, unit: str) -> None:
    assert installed.machine.property(unit, "Type") == "notify"
    assert installed.machine.property(unit, "ActiveState") == "active"
    assert installed.machine.property(unit, "WatchdogTimestampMonotonic") not in {"", "0"}


def test_the_control_plane_and_its_files_belong_to_a_user_of_their_own(installed: Installation) -> None:
    owner = installed.machine.run("stat", "--format=%U %a", "/var/lib/dployr/control-plane").stdout
    assert owner == "dployr 700\n"
    pid = installed.machine.main_pid(CONTROL_PLANE)
    assert installed.machine.run("stat", "--format=%U", f"/proc/{pid}/cmdline").stdout in {"dployr\n", "root\n"}
    assert installed.machine.run("ps", "-o", "user=", "-p", str(pid)).stdout.strip() == "dployr"


def test_the_agents_powers_are_enough_to_clear_up_after_a_build_that_fails(installed: Installation, app: str) -> None:
    pids, trees = installed.pids("app"), "/var/lib/dployr/agent/services"
    failed = installed.put("app", build_cmd="mkdir -m 700 closed && touch closed/file && chmod 500 closed && exit 3")
    assert failed["status"] == "failed"
    assert installed.pids("app") == pids
    repaired = installed.put("app", build_cmd="mkdir -m 700 closed && touch closed/file && chmod 500 closed")
    assert repaired["status"] == "running"
    wait_until(lambda: the_one(installed, app), 60, "the end of the former release")
    found = installed.machine.run("find", trees, "-name", "closed").stdout.split()
    assert [path for path in found if "/releases/" not in path] == []


def test_the_doctor_finds_limits_and_the_end_of_trees_enforced(installed: Installation) -> None:
    """And says of each other thing what to do: a clock that is kept right depends on this machine."""
    doctor = ("/opt/dployr/bin/dployr-agent", "doctor", "--config", "/etc/dployr/agent.yaml", "--json")
    rows = {row["what"]: row for row in json.loads(installed.machine.run(*doctor, check=False).stdout)}
    for what in (
        "an agent that is not root",
        "supervision",
        "limits of memory, cpu and pids",
        "the end of whole process trees",
        "what builds may not call",
        "the proxy",
    ):
        assert rows[what]["enforced"], rows[what]
    assert all(row["do"] for row in rows.values() if not row["enforced"])


@pytest.mark.parametrize("units", ALL)
def test_a_restart_loses_no_request_and_keeps_the_process(installed: Installation, app: str, units) -> None:
    pids = installed.pids("app")
    before = {unit: installed.machine.main_pid(unit) for unit in units}
    with installed.load(app) as load:
        installed.machine.run("systemctl", "restart", *units)
        wait_until(lambda: replaced(installed, before), 60, "new processes of the units")
        wait_until(lambda: whole(installed), 60, "the control plane and its agent")
    assert load.failed == []
    assert installed.pids("app") == pids
    assert {body.split()[-1] for _, body in load.answers} == {str(pids[0])}


@pytest.mark.parametrize("units", ALL)
def test_an_application_serves_while_units_are_stopped(installed: Installation, app: str, units) -> None:
    pids = installed.pids("app")
    with installed.load(app) as load:
        installed.machine.run("systemctl", "stop", *units)
        answered = len(load.answers)
        wait_until(lambda: len(load.answers) > answered + 50, 20, "answers while the units are stopped")
        installed.machine.run("systemctl", "start", *units)
        wait_until(lambda: whole(installed), 60, "the control plane and its agent")
    assert load.failed == []
    assert installed.pids("app") == pids


def test_a_supervisor_that_hangs_is_replaced_and_the_application_does_not_notice(
    installed: Installation, app: str
) -> None:
    pids, hung = installed.pids("app"), installed.machine.main_pid(SUPERVISOR)
    with installed.short_watchdog(SUPERVISOR), installed.load(app) as load:
        hung = installed.machine.main_pid(SUPERVISOR)
        installed.machine.run("kill", "-STOP", str(hung))
        wait_until(lambda: replaced(installed, {SUPERVISOR: hung}), 60, "a supervisor that answers")
        wait_until(lambda: whole(installed), 60, "the agent")
    assert load.failed == []
    assert installed.pids("app") == pids


@pytest.mark.parametrize("unit", [CONTROL_PLANE, AGENT])
def test_a_daemon_that_hangs_is_replaced(installed: Installation, unit: str) -> None:
    with installed.short_watchdog(unit):
        hung = installed.machine.main_pid(unit)
        installed.machine.run("kill", "-STOP", str(hung))
        wait_until(lambda: replaced(installed, {unit: hung}), 60, f"a {unit} that answers")
        wait_until(lambda: whole(installed), 60, "the control plane and its agent")


def test_an_upgrade_in_place_loses_no_request_and_keeps_the_process(
    installed: Installation, app: str, wheels: dict[str, pathlib.Path]
) -> None:
    pids = installed.pids("app")
    assert installed.versions() == {FIRST}
    with installed.load(app) as load:
        installed.put_in(wheels[NEXT])
        installed.machine.run("systemctl", "restart", *UNITS)
        wait_until(lambda: whole(installed) and installed.versions() == {NEXT}, 60, "the new version everywhere")
    assert load.failed == []
    assert installed.pids("app") == pids


def test_after_a_reboot_everything_comes_back_by_itself_once(installed: Installation, app: str) -> None:
    hosts, boot_id = installed.call("GET", "/v1/instances")["data"], installed.boot_id()
    installed.machine.power_off()
    installed.boot()
    wait_until(lambda: whole(installed), 60, "the control plane and its agent")
    wait_until(lambda: installed.get(app)[0] == 200, 60, "the application")
    assert installed.boot_id() != boot_id
    running = wait_until(lambda: the_one(installed, app), 60, "one process, which is the one that answers")
    assert installed.machine.run("pgrep", "--full", "--exact", "python3 app.py").stdout.split() == [running]
    assert [host["id"] for host in installed.call("GET", "/v1/instances")["data"]] == [host["id"] for host in hosts]
    assert installed.put("app", env={"CHANGED": "yes"})["status"] == "running"
