"""Which rung this host has: the best one on which a cage can really be made and left again."""

import pathlib
from collections.abc import Callable

from node_agent.supervisor import cages
from node_agent.supervisor.cages import NO_LIMITS, Cages, NoCages
from node_agent.supervisor.cages_v1 import CagesV1
from node_agent.supervisor.cages_v2 import CagesV2
from node_agent.supervisor.loop import note

PROBE = "probe"


def open_cages(root: pathlib.Path) -> Cages:
    """The cages of one data directory. What keeps us from a rung is noted; raises nothing."""
    try:
        places = cages.probe(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    except (OSError, ValueError) as error:
        return NoCages(f"control groups cannot be told: {error}")
    group = cages.group_name(root)
    v2 = ("cgroup v2", lambda: _proved(CagesV2(places.v2, group)))
    v1 = ("cgroup v1", lambda: _proved(CagesV1(places.v1, group)))
    return _first([v1, v2] if places.v1 else [v2])


def _first(rungs: list[tuple[str, Callable[[], Cages]]]) -> Cages:
    reasons = []
    for words, open_rung in rungs:
        try:
            return open_rung()
        except OSError as error:
            reasons.append(f"{words}: {error}")
            note("cages.refused", rung=words, error=error)
    return NoCages("; ".join(reasons))


def _proved(found: Cages) -> Cages:
    """Raises OSError when a cage can be made but not entered and left."""
    cage = found.create(PROBE, NO_LIMITS)
    if cage is not None:
        with cage.entered():
            pass
        cage.remove()
    return found


def _text(path: str) -> str:
    return pathlib.Path(path).read_text(errors="replace")
