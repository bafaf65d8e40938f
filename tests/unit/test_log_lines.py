"""What both daemons write into their logs: events that cannot be forged, tracebacks without variables."""

import re

import pytest
import structlog

from control_plane import logs as control_plane_logs
from node_agent import logs as agent_logs

FORGED = "x\n2026-11-24 09:30:00 [info     ] user.deleted\r\x1b[2J\x1b]0;title\x07\u2028\x9b31m"
EVENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \[(info|error) +\] ")


@pytest.fixture(params=[control_plane_logs, agent_logs], ids=["control plane", "agent"])
def written(request, capfd):
    """What is logged, as text, after the daemon's own set-up."""
    request.param.configure()
    yield lambda: capfd.readouterr().out
    structlog.reset_defaults()


def test_a_value_stays_on_the_line_of_its_event(written):
    structlog.get_logger().info("request.answered", path=FORGED, user=None, bad={"key": FORGED}, listed=[FORGED])
    lines = written().splitlines()
    assert len(lines) == 1
    assert EVENT.match(lines[0])
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u2028]", lines[0])


@pytest.mark.parametrize("text", ["\x1b[2J", "a\x07b", "\u202egnp.exe", "\x9b31m", "a\u2028b"])
def test_a_value_without_blanks_is_escaped_too(written, text):
    structlog.get_logger().info("request.answered", path=text)
    assert text.encode("unicode_escape").decode().lstrip("a").rstrip("b") in written()


def test_a_traceback_shows_no_variable_and_forges_no_event(written):
    def fails(password):
        raise ValueError(FORGED)

    canary = "-".join(["canary", *("of", "a", "frame")])
    try:
        fails(canary)
    except ValueError as error:
        structlog.get_logger().error("request.failed", exc_info=error)
    said = written()
    first, *rest = said.rstrip("\n").split("\n")
    assert EVENT.match(first)
    assert any("in fails" in line for line in rest)
    assert canary not in said
    assert all(line.startswith(control_plane_logs.MARK) or line == "" for line in rest)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u2028]", said.replace("\n", ""))
