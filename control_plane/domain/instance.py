"""Presence and placement of instances."""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from control_plane import errors
from control_plane.domain import grammar, values

LEASE_S = 40.0
STATUSES = ("online", "degraded", "offline", "draining")
LATE_S = 25.0  # two heartbeats are missing


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where a service shall run: on the instance of that id or name, on one with these labels, or anywhere."""

    instance: str = ""
    labels: tuple[tuple[str, str], ...] = ()


def is_online(instance: values.Instance, now: values.Time) -> bool:
    """Presence is a lease: connected, and heard of within LEASE_S. A live stream alone is not a live agent."""
    return instance.online and not has_lapsed(instance, now)


def has_lapsed(instance: values.Instance, now: values.Time) -> bool:
    """Whether it was not heard of for LEASE_S, connected or not."""
    return instance.last_seen is None or now - instance.last_seen > datetime.timedelta(seconds=LEASE_S)


def presented(instance: values.Instance, now: values.Time) -> values.Instance:
    """`instance` with `online` as derived from the lease."""
    return dataclasses.replace(instance, online=is_online(instance, now))


def view(instance: values.Instance, services: int, now: values.Time) -> values.InstanceView:
    """`instance` as its page shows it at `now`."""
    plain = {field.name: getattr(instance, field.name) for field in dataclasses.fields(values.Instance)}
    plain["online"] = is_online(instance, now)
    return values.InstanceView(**plain, status=status_of(instance, now), services=services)


def changed(instance: values.Instance, labels: Mapping[str, str | None], cordoned: bool | None) -> values.Instance:
    """`instance` with `labels` merged by key (None deletes one). InvalidError that names every bad label."""
    both = {**dict(instance.labels), **labels}
    kept = {key: text for key, text in both.items() if text is not None}
    if problems := grammar.label_problems("labels", kept):
        raise errors.InvalidError.several("cannot label the instance", problems)
    wanted = instance.cordoned if cordoned is None else cordoned
    return dataclasses.replace(
        instance, labels=tuple(sorted(kept.items())), cordoned=wanted, draining=instance.draining and wanted
    )


def differing(old: values.Instance, new: values.Instance) -> list[str]:
    return [name for name in ("labels", "cordoned", "draining") if getattr(old, name) != getattr(new, name)]


def status_of(instance: values.Instance, now: values.Time) -> str:
    """online, degraded (its heartbeats are late), offline or draining."""
    if not is_online(instance, now):
        return "offline"
    if instance.draining:
        return "draining"
    late = instance.last_seen is not None and now - instance.last_seen > datetime.timedelta(seconds=LATE_S)
    return "degraded" if late else "online"


def takes_services(instance: values.Instance) -> bool:
    """Whether anything new may be placed there."""
    return not (instance.cordoned or instance.draining or instance.revoked)


def candidates(
    instances: Sequence[values.Instance], services: Mapping[str, int], now: values.Time, wanted: Place | None = None
) -> list[values.Instance]:
    """Those on which a new service may be placed, the best first.

    Online ones first, then the one with most memory for each service it has; `services` counts those already there. One
    that is away may be chosen: it learns of the wish when it is back. Raises InvalidError that says why a wanted one
    cannot be had, and UnavailableError when there is none at all.
    """
    wanted = wanted or Place()

    def preference(instance: values.Instance) -> tuple[bool, float, str]:
        memory = instance.facts.get("memory_bytes", 0)
        room = float(memory if isinstance(memory, int) else 0) / (1 + services.get(instance.id, 0))
        return not is_online(instance, now), -room, instance.id

    named = _named(instances, wanted)
    labelled = [one for one in named if set(wanted.labels) <= set(one.labels)]
    if named and not labelled:
        known = sorted({f"{key}={text}" for one in named for key, text in one.labels})
        raise _cannot("placement.labels", "no instance has these labels", known)
    free = [one for one in labelled if takes_services(one)]
    if free:
        return sorted(free, key=preference)
    if wanted.instance:
        raise _cannot("instance", f"instance {labelled[0].name} is cordoned and takes nothing new", [])
    why = "every instance is cordoned" if labelled else "no instance online"
    raise errors.UnavailableError(f"cannot place the deployment: {why}; join one and try again")


def reason_of(chosen: values.Instance, wanted: Place, now: values.Time) -> str:
    """Why it was chosen, for the audit."""
    if wanted.instance:
        return "it was asked for"
    labels = "with the labels asked for, " if wanted.labels else ""
    presence = "online, " if is_online(chosen, now) else "none is online, "
    return f"{labels}{presence}most memory for each service"


def _named(instances: Sequence[values.Instance], wanted: Place) -> list[values.Instance]:
    if not wanted.instance:
        return list(instances)
    found = [one for one in instances if wanted.instance == one.id] or [
        one for one in instances if wanted.instance == one.name
    ]
    if not found:
        raise _cannot("instance", "no such instance", sorted(one.name for one in instances))
    return found


def _cannot(field: str, issue: str, supported: list[str]) -> errors.InvalidError:
    more = {"supported": supported} if supported else {}
    return errors.InvalidError.field(f"cannot place the deployment: {field}: {issue}", field, issue, **more)
