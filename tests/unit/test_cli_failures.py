"""How an error is printed: whole lines of our own, nothing that a server says may drive the terminal."""

from dployr import errors
from dployr.cli import failures


def test_the_end_of_a_log_keeps_its_lines_but_not_its_control_characters() -> None:
    assert failures.printable(errors.StackError("it ended:\n  a\x1b[2Jb")) == "it ended:\n  a\\x1b[2Jb"


def test_what_a_server_says_stays_on_one_line() -> None:
    assert failures.printable(errors.Unreachable("no\nroute")) == "no\\nroute"
