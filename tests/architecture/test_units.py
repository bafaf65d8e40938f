"""The unit files are free of unknown keys and values."""

import pathlib
import shutil
import subprocess

import pytest

UNITS = sorted((pathlib.Path(__file__).resolve().parents[2] / "systemd").glob("*.service"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_has_nothing_to_say_about_the_unit(unit: pathlib.Path, tmp_path: pathlib.Path) -> None:
    text = unit.read_text()
    for line in text.splitlines():  # verify wants the programs to exist
        if line.startswith("ExecStart="):
            program = line.removeprefix("ExecStart=").split()[0]
            text = text.replace(program, "/bin/true")
    copy = tmp_path / unit.name
    copy.write_text(
        "\n".join(line for line in text.splitlines() if not line.startswith(("After=", "Wants=", "Before=")))
    )
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], check=False, capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_supervisors_unit_leaves_the_applications_alone() -> None:
    text = next(unit for unit in UNITS if "supervisor" in unit.name).read_text()
    assert "KillMode=process\n" in text
    assert "Delegate=yes\n" in text


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(
    ("unit", "limit"), [("dployr-control-plane", 15), ("dployr-agent", 20), ("dployr-supervisor", 40)]
)
def test_systemd_rates_what_a_unit_can_reach_as_low_as_promised(unit: str, limit: int) -> None:
    """In tenths: 0 is none of the machine, 100 all of it."""
    file = next(each for each in UNITS if each.stem == unit)
    rate = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"--threshold={limit}", str(file)]
    done = subprocess.run(rate, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr


def test_each_daemon_is_restarted_for_ever_and_watched() -> None:
    for unit in UNITS:
        lines = unit.read_text().splitlines()
        assert {"Type=notify", "Restart=always", "StartLimitIntervalSec=0"} <= set(lines), unit
        assert any(line.startswith("WatchdogSec=") for line in lines), unit
