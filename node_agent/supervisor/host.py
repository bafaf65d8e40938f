"""What the parts of the supervisor share."""

import dataclasses
import random
from collections.abc import Callable

from node_agent.clock import Clock
from node_agent.paths import Paths
from node_agent.supervisor.children import Children
from node_agent.supervisor.endings import Endings
from node_agent.supervisor.logs import LogStore
from node_agent.supervisor.loop import Loop
from node_agent.supervisor.records import Records


@dataclasses.dataclass(frozen=True, slots=True)
class Host:
    """`changed(service_id)` tells every connection that a process of the service changed."""

    loop: Loop
    clock: Clock
    chance: random.Random
    paths: Paths
    boot_id: str
    children: Children
    endings: Endings
    logs: LogStore
    records: Records
    changed: Callable[[str], None]


class RefusedError(Exception):
    """The supervisor says no, and why; the text goes to the caller."""
