"""What a daemon does at its failpoints, and that in production there are none."""

import errno
import signal
import subprocess
import sys

import pytest

import failpoints
from failpoints import table

DIES = """
import failpoints

@failpoints.around("proxy.point")
def point():
    print("at work", flush=True)

for _ in range(3):
    point()
"""


def ran(**environment):
    return subprocess.run(
        [sys.executable, "-c", DIES], env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_outside_test_mode_nothing_is_armed_whatever_is_asked_for():
    asked = {failpoints.POINTS: "proxy.before_point=kill"}
    assert failpoints.armed(asked) == {}
    assert failpoints.armed({**asked, failpoints.MODE: "0"}) == {}
    assert failpoints.armed({**asked, failpoints.MODE: "1"}) == {"proxy.before_point": ("kill", 1)}


def test_a_point_that_is_not_armed_is_the_very_function():
    def work():
        """Nothing."""

    assert failpoints.around("proxy.point")(work) is work


@pytest.mark.parametrize(
    "text",
    [
        "proxy.before_nothing=kill",
        "proxy.before_point=die",
        "proxy.before_point=errorcode",  # a name of the module, and no error
        "proxy.before_point=kill@x",
        "proxy.before_point=kill@0",  # never
        "proxy.before_point=kill@1;proxy.before_point=kill@2",
    ],
)
def test_what_is_not_in_the_table_or_not_to_be_done_is_refused(text):
    with pytest.raises(ValueError, match="cannot use the failpoint"):
        failpoints.parse(text)


def test_a_process_dies_before_or_after_the_pass_that_was_asked_for():
    armed = {failpoints.MODE: "1"}
    before = ran(**armed, **{failpoints.POINTS: "proxy.before_point=kill@3"})
    after = ran(**armed, **{failpoints.POINTS: "proxy.after_point=kill@3"})
    assert (before.returncode, before.stdout.count("at work")) == (-signal.SIGKILL, 2)
    assert (after.returncode, after.stdout.count("at work")) == (-signal.SIGKILL, 3)


def test_a_failure_is_raised_once_where_it_was_asked_for():
    done = ran(**{failpoints.MODE: "1", failpoints.POINTS: "proxy.before_point=ENOSPC@2"})
    assert done.stdout.count("at work") == 1
    assert f"[Errno {errno.ENOSPC}]" in done.stderr
    assert "(failpoint proxy.before_point)" in done.stderr


def test_passes_count_from_the_moment_on_that_a_file_says(tmp_path):
    armed = {failpoints.MODE: "1", failpoints.POINTS: "proxy.before_point=kill@1"}
    file = tmp_path / "from"
    assert ran(**armed, **{failpoints.FROM: str(file)}).returncode == 0
    file.touch()
    assert ran(**armed, **{failpoints.FROM: str(file)}).returncode == -signal.SIGKILL


def test_every_step_has_a_name_of_its_own():
    assert len(table.BY_NAME) == len(table.STEPS)
