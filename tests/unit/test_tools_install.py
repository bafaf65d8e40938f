"""The set-up's decisions: when the virtual environment is current, and what a person without root is told."""

import os
import pathlib

import pytest

from tools import install


@pytest.fixture
def venv(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    place = tmp_path / ".venv"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").touch()
    for name, path in (
        ("VENV", place),
        ("PYTHON", place / "bin" / "python"),
        ("STAMP", place / "stamp"),
        ("UNFINISHED", place / "unfinished"),
    ):
        monkeypatch.setattr(install, name, path)
    return place


def test_an_environment_is_current_with_its_stamp_only(venv: pathlib.Path) -> None:
    assert not install.is_current("place files")
    install.STAMP.write_text("place files")
    assert install.is_current("place files")
    assert not install.is_current("place other-files")


def test_an_interrupted_installation_is_not_current(venv: pathlib.Path) -> None:
    install.STAMP.write_text("place files")
    install.UNFINISHED.touch()
    assert not install.is_current("place files")


def test_a_moved_checkout_is_noticed_and_a_changed_lock_file_is_not_a_move(venv: pathlib.Path) -> None:
    assert not install.was_moved("place files")
    install.STAMP.write_text("place files")
    assert not install.was_moved("place other-files")
    assert install.was_moved("elsewhere files")


def test_without_root_the_missing_package_and_its_command_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(install.InstallError, match="apt-get install --no-install-recommends nginx-light"):
        install.install_packages(["nginx-light"])


def test_what_only_tests_want_is_asked_for_with_the_tests_and_never_stops_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(install, "TEST_PROGRAMS", (("no-such-program", "no-such-package"),))
    assert "no-such-package" not in install.missing_packages()
    install.install_test_packages()
    assert "some tests will be skipped" in capsys.readouterr().out


def test_a_machine_that_lacks_nothing_needs_no_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    install.install_packages([])


def test_services_are_kept_from_starting_only_while_packages_are_installed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(install, "POLICY", policy)
    with install.no_daemons():
        assert policy.stat().st_mode & 0o111
    assert not policy.exists()
    policy.write_text("the machine's own")
    with install.no_daemons():
        pass
    assert policy.read_text() == "the machine's own"
