"""How a run with several workers shares the tests out."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests import conftest

FILES = ("tests/e2e/test_a.py", "tests/e2e/test_b.py", "tests/unit/test_c.py", "tests/unit/test_d.py")
TEST = """
import os, pathlib, pytest

@pytest.mark.parametrize("number", range(4))
def test_who_runs_me(number):
    with pathlib.Path(__file__).with_suffix(".workers").open("a") as workers:
        print(os.environ.get("PYTEST_XDIST_WORKER", "none"), file=workers)
"""


@pytest.fixture
def run(tmp_path: pathlib.Path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(TEST)
    shutil.copy(conftest.__file__, tmp_path / "tests" / "conftest.py")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n")

    def run(*options: str) -> list[list[str]]:
        command = [sys.executable, "-m", "pytest", "-q", *options, "tests"]
        bare = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_XDIST")}
        bare["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # the others take seconds to import
        done = subprocess.run(command, cwd=tmp_path, env=bare, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout
        return [(tmp_path / name).with_suffix(".workers").read_text().split() for name in FILES]

    return run


def test_all_end_to_end_tests_run_on_one_worker_and_so_do_those_of_a_file(run) -> None:
    a, b, c, d = run("-p", "xdist", "-n", "2")
    assert len({*a, *b}) == len({*c}) == len({*d}) == 1
    assert {*a, *c, *d} == {"gw0", "gw1"}


def test_without_workers_everything_runs_in_one_process(run) -> None:
    assert run("-p", "no:xdist") == [["none"] * 4] * 4
