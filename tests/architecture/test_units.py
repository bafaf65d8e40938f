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
