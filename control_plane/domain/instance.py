"""Presence and placement of instances."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from control_plane.domain import values

LEASE_S = 40.0


def is_online(instance: values.Instance, now: values.Time) -> bool:
    """Presence is a lease: connected, and heard of within LEASE_S. A live stream alone is not a live agent."""
    if not instance.online or instance.last_seen is None:
        return False
    return now - instance.last_seen <= datetime.timedelta(seconds=LEASE_S)


def presented(instance: values.Instance, now: values.Time) -> values.Instance:
    """`instance` with `online` as derived from the lease."""
    return dataclasses.replace(instance, online=is_online(instance, now))


def place(
    instances: Sequence[values.Instance], services: Mapping[str, int], now: values.Time
) -> values.Instance | None:
    """The instance for a new service: online ones first, then the one with most memory for each service it has.

    `services` counts those already there. An instance that is away may be chosen: it learns of the wish when it is
    back. None when there is no instance at all.
    """

    def preference(instance: values.Instance) -> tuple[bool, float, str]:
        memory = instance.facts.get("memory_bytes", 0)
        room = float(memory if isinstance(memory, int) else 0) / (1 + services.get(instance.id, 0))
        return not is_online(instance, now), -room, instance.id

    return min(instances, key=preference, default=None)
