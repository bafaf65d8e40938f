"""Which rung this host has: the best one on which a cage can really be made and left again."""

import pathlib
from collections.abc import Callable

from node_agent.supervisor import cages
from node_agent.supervisor.cages import NO_LIMITS, Cages, NoCages
from node_agent.supervisor.cages_v1 import CagesV1
from node_agent.supervisor.cages_v2 import CagesV2

PROBE = "probe"


def open_cages(root: pathlib.Path, rung: str = "") -> Cages:
    """The cages of one data directory. `rung`: not a better one than v2, v1 or none. Raises nothing."""
    try:
        places = cages.probe(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo"))
    except (OSError, ValueError) as error:
        return NoCages(f"no control group can be told: {error}")
    group = cages.group_name(root)
    rungs: dict[str, Callable[[], Cages]] = {
        "v2": lambda: CagesV2(places.v2, group, required=bool(places.v1) and not rung),
        "v1": lambda: CagesV1(places.v1, group),
    }
    reasons = []
    for name in list(rungs)[(rung or "v2") == "v1" :] if rung != "none" else ():
        try:
            return _proved(rungs[name]())
        except OSError as error:
            reasons.append(f"cgroup {name}: {error.strerror or error}")
    return NoCages("; ".join(reasons) or "control groups are not wished")


def _proved(found: Cages) -> Cages:
    """Raises OSError when a cage can be made but not entered and left."""
    cage = found.create(PROBE, NO_LIMITS)
    if cage is not None:
        with cage.entered():
            pass
        cage.remove()
    found.close()  # a supervisor that never starts anything leaves nothing
    return found


def _text(path: str) -> str:
    return pathlib.Path(path).read_text(errors="replace")
