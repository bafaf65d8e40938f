"""`dployr-agent doctor` on this machine, with a real supervisor and without."""

import json
import os
import pathlib
import resource
import subprocess
import sys

from node_agent import doctor
from node_agent.model.findings import Finding
from node_agent.paths import Paths
from tests.supervisor_host import REPOSITORY, SupervisorHost
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until


def run(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "node_agent", "doctor", *words]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


def test_it_reports_what_the_running_supervisor_enforces(host: SupervisorHost) -> None:
    host.start()
    wait_until(host.paths.supervisor_socket.exists, what="the supervisor's socket")
    done = run("--data-dir", str(host.paths.root), "--json")
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    assert rows["supervision"]["enforced"]
    assert done.returncode == (0 if all(row["enforced"] for row in rows.values()) else 1)
    assert all(bool(row["do"]) is not row["enforced"] for row in rows.values())
    assert done.stderr == ""


def test_the_supervisors_own_user_and_limits_count(host: SupervisorHost) -> None:
    host.start()
    wait_until(host.paths.supervisor_socket.exists, what="the supervisor's socket")
    facts = doctor.probe(host.paths)
    assert facts.capabilities is not None
    assert facts.uid == os.getuid()
    assert facts.open_files == resource.prlimit(host.process.pid, resource.RLIMIT_NOFILE)[1]


def test_without_a_supervisor_the_rest_is_still_reported(tmp_path: pathlib.Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(doctor, "ANSWER_S", 0.05)
    assert doctor.main(["--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "cannot reach the supervisor" in said
    assert "→ start it: systemctl start dployr-supervisor" in said


def test_a_directory_that_is_not_there_is_a_finding_not_a_crash(tmp_path: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(doctor, "ANSWER_S", 0.05)
    facts = doctor.probe(Paths(tmp_path / "nowhere"))
    assert (facts.capabilities, facts.holes, facts.free_bytes) == (None, False, 0)


def test_without_settings_it_says_which_and_ends_with_2() -> None:
    done = run()
    assert done.returncode == 2
    assert done.stderr == (
        "dployr-agent doctor: cannot tell where the agent keeps its data: give --config or --data-dir\n"
    )


def test_the_agents_settings_file_is_enough(tmp_path: pathlib.Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(doctor, "ANSWER_S", 0.05)
    file = tmp_path / "agent.yaml"
    file.write_text(f"data_dir: {tmp_path}\nhub: 127.0.0.1:1\n")
    assert doctor.main(["--config", str(file), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["what"] == "supervision"


def test_the_table_has_a_line_for_each_and_one_more_for_what_to_do() -> None:
    rows = [Finding("one", True, "so"), Finding("another", False, "not so", "do this")]
    assert doctor.as_table(rows).splitlines() == [
        "enforced  one      so",
        "missing   another  not so",
        "                   → do this",
    ]
