"""What a start does to the supervisor itself: nothing, whatever the started one's neighbours do meanwhile."""

import contextlib
import os
import signal
import subprocess

from node_agent.supervisor import fence, spawn


def test_a_child_that_is_stopped_before_its_program_does_not_hold_us_up() -> None:
    reader, writer = os.pipe()
    with spawn.unfrozen():
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
        os.close(writer)
        assert os.read(reader, 1) == b""  # as Popen waits: until the child runs its program or is gone
    os.close(reader)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_a_program_that_stops_itself_stays_stopped() -> None:
    with spawn.unfrozen():
        child = subprocess.Popen(["/bin/sh", "-c", "kill -STOP $$; exit 7"])
        _, status = os.waitpid(child.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        spawn.kill_frozen()
        child.send_signal(signal.SIGCONT)
        assert child.wait(10) == 7


def test_nothing_of_the_wait_is_left() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with spawn.unfrozen():
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_every_step_of_the_filter_leads_to_one_that_is_there() -> None:
    text = fence.program()
    steps = [text[at : at + 8] for at in range(0, len(text), 8)]
    for place, step in enumerate(steps):
        code, true, false = int.from_bytes(step[:2], "little"), step[2], step[3]
        assert place + 1 + max(true, false) < len(steps) or code == fence.ANSWER
    assert int.from_bytes(steps[-1][:2], "little") == fence.ANSWER
