"""Hosts, and what was measured there. Imported by way of `values`."""

import dataclasses
from typing import Any

from control_plane.domain.values.plain import Time


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """A host with an agent. `epoch` counts its sessions; `facts` is what it said of itself at the last connect.

    `online` is whether it is connected; `announced` whether the last event of its presence was that it is.
    """

    id: str
    name: str
    epoch: int
    online: bool
    last_seen: Time | None
    agent_version: str
    boot_id: str
    facts: dict[str, Any]
    created_at: Time
    labels: tuple[tuple[str, str], ...] = ()
    cordoned: bool = False
    revoked: bool = False
    generation: int = 1
    draining: bool = False
    announced: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class InstanceView(Instance):
    """An instance as its page shows it: the projected status, and how many services are on it."""

    status: str = "offline"
    services: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    """The newest measurement of an instance: structured, and as Prometheus text."""

    instance_id: str
    time: float
    families: dict[str, Any]
    exposition: str
