"""Places at which a daemon can be made to die, or to see a failure, so that a test proves what its successor does.

`DPLOYR_FAILPOINTS="proxy.after_point=kill@1;report.before_spool=ENOSPC@3"`: the third time that the agent is about to spool
a report, the disk is full. Read once, from the environment that a daemon is started with, and only where that says
`DPLOYR_TEST_MODE=1` too: no app and no request reaches it. Else `around` gives back the very function that it was given, so
a point costs nothing. The points are those of table.py, and no others. `DPLOYR_FAILPOINTS_FROM` names a file: passes count
from the moment on that it is there, so those of the daemon's start do not.
"""

import errno
import functools
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from failpoints import table

MODE, POINTS, FROM = "DPLOYR_TEST_MODE", "DPLOYR_FAILPOINTS", "DPLOYR_FAILPOINTS_FROM"
ACTIONS = {"kill", *errno.errorcode.values()}
COROUTINE = 0x80  # inspect.CO_COROUTINE; to import inspect costs the supervisor more than all else here

Function = TypeVar("Function", bound=Callable[..., Any])


def parse(text: str) -> dict[str, tuple[str, int]]:
    """What is asked for at which point, and at which of its passes. Raises ValueError for a point that there is not."""
    known = {point for step in table.STEPS for point in (step.before, step.after)}
    found = {}
    for word in filter(None, text.split(";")):
        point, _, action = word.partition("=")
        what, _, number = action.partition("@")
        counts = not number or (number.isdecimal() and int(number) > 0)
        if point not in known or point in found or what not in ACTIONS or not counts:
            raise ValueError(
                f"cannot use the failpoint {word!r}: write POINT=kill@N or POINT=ERRNO@N, POINT of table.py, each once"
            )
        found[point] = (what, int(number or 1))
    return found


def armed(environment: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """Nothing outside test mode, whatever is asked for."""
    return parse(environment.get(POINTS, "")) if environment.get(MODE) == "1" else {}


_armed = armed(os.environ)
_from = os.environ.get(FROM, "")
_passes: Counter[str] = Counter()


def around(name: str) -> Callable[[Function], Function]:
    """Decorates the function that is the step `name`: its points are before its first line and after its return."""

    def decorate(function: Function) -> Function:
        step = table.BY_NAME[name]
        if step.before not in _armed and step.after not in _armed:
            return function
        return cast("Function", _watched(step, function))

    return decorate


def _watched(step: table.Step, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    async def later(*given: Any, **named: Any) -> Any:
        _pass(step.before)
        result = await function(*given, **named)
        _pass(step.after)
        return result

    @functools.wraps(function)
    def at_once(*given: Any, **named: Any) -> Any:
        _pass(step.before)
        result = function(*given, **named)
        _pass(step.after)
        return result

    return later if function.__code__.co_flags & COROUTINE else at_once


def _pass(point: str) -> None:
    """Raises OSError where that is asked for. A kill does not return."""
    what, number = _armed.get(point, ("", 0))
    if _from and not os.path.exists(_from):  # noqa: PTH110 - without pathlib, as in all of the supervisor
        return
    _passes[point] += 1
    if _passes[point] != number:
        return
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    code = getattr(errno, what)
    raise OSError(code, f"{os.strerror(code)} (failpoint {point})")
