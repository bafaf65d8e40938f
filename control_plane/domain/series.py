"""What a host measured over time: rings of points, finer ones short, coarser ones long. Pure.

Each ring has a fixed number of places, so an instance costs a bounded number of rows whatever its clock or ours does. A
point holds the means of what came within its slot. What an agent sends is a stranger's data: only the numbers that
docs/reference/metrics.md names are taken, and no more than MAX_NUMBERS of them.
"""

import dataclasses
import datetime
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from control_plane import errors
from control_plane.domain import moment, values

MAX_NUMBERS = 500
MAX_LABEL = 200
DEFAULT_S = 3600.0
BETWEEN = "|"  # in the key of a number: name|label
SERVICE = ("cpu_percent", "rss_bytes", "fds", "restarts")
PEAKS = ("service_restarts",)  # a count has no mean
LOADS = ("1m", "5m", "15m")
LABELS = {"cpu": "mode", "load": "period", "disk": "mount", "network": "interface", "service": "service"}


@dataclasses.dataclass(frozen=True, slots=True)
class Ring:
    step_s: int
    kept_s: int

    @property
    def places(self) -> int:
        return self.kept_s // self.step_s

    def place(self, time: float) -> int:
        return int(time // self.step_s) % self.places

    def slot(self, time: float) -> float:
        """The beginning of the slot that `time` is in."""
        return time // self.step_s * self.step_s


RINGS = (Ring(10, 3600), Ring(60, 24 * 3600), Ring(600, 30 * 24 * 3600))


@dataclasses.dataclass(frozen=True, slots=True)
class Point:
    """`time` is the beginning of its slot, `count` how many samples it is the mean of."""

    time: float
    count: int
    numbers: Mapping[str, float]


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """What is asked for: points of `ring` from `since` until before `until`, put together to steps of `step_s`."""

    ring: Ring
    step_s: int
    since: float
    until: float


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """One number over the times of an answer; None where it was not measured."""

    name: str
    labels: Mapping[str, str]
    values: Sequence[float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    window: Window
    times: Sequence[float]
    series: Sequence[Series]


def numbers(families: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a sample that are kept over time, by key."""
    found = ((key, value) for key, value in _numbers(families) if _is_number(value))
    return {key: float(value) for key, value in itertools.islice(found, MAX_NUMBERS)}


def merged(old: Point | None, new: Point) -> Point:
    """What a slot holds when `new` comes: the mean with what it held; a former turn of the ring is forgotten."""
    if old is None or old.time != new.time:
        return new
    count = old.count + new.count
    both = {key: _together(key, old, new, count) for key in old.numbers.keys() & new.numbers.keys()}
    return Point(new.time, count, {**old.numbers, **new.numbers, **both})


def window(since: str | None, until: str | None, step_s: int | None, now: values.Time) -> Window:
    """The last hour without `since`. The finest ring that reaches back so far, or a coarser one that the step allows."""
    end = moment.parsed(until, "to") if until is not None else now
    begin = moment.parsed(since, "from") if since is not None else end - datetime.timedelta(seconds=DEFAULT_S)
    if begin >= end:
        raise errors.InvalidError.field("cannot show metrics: `from` must be before `to`", "from", "must be before to")
    age_s = (now - begin).total_seconds()
    ring = next((one for one in RINGS if age_s <= one.kept_s), RINGS[-1])
    wanted = step_s or ring.step_s
    ring = max((one for one in RINGS if ring.step_s <= one.step_s <= wanted), key=lambda one: one.step_s, default=ring)
    return Window(ring, math.ceil(wanted / ring.step_s) * ring.step_s, begin.timestamp(), end.timestamp())


def answer(points: Sequence[Point], asked: Window) -> Answer:
    """`points`, oldest first, as one list of values for each number. Times without a point are left out."""
    steps: dict[float, Point] = {}
    for point in points:
        slot = point.time // asked.step_s * asked.step_s
        steps[slot] = merged(steps.get(slot), dataclasses.replace(point, time=slot))
    keys = sorted({key for point in steps.values() for key in point.numbers})
    found = [_series(key, [point.numbers.get(key) for point in steps.values()]) for key in keys]
    return Answer(asked, tuple(steps), tuple(found))


def _series(key: str, column: Sequence[float | None]) -> Series:
    name, _, label = key.partition(BETWEEN)
    word = LABELS.get(name.partition("_")[0], "") if label else ""
    rounded = tuple(None if value is None else round(value, 3) for value in column)
    return Series(name, {word: label} if word else {}, rounded)


def _together(key: str, old: Point, new: Point, count: int) -> float:
    before, after = old.numbers[key], new.numbers[key]
    if key.partition(BETWEEN)[0] in PEAKS:
        return max(before, after)
    return (before * old.count + after * new.count) / count


def _numbers(families: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """In the order in which they are kept when there are too many: the host first."""
    for mode, share in _map(families.get("cpu")).items():
        yield _key("cpu_percent", mode), share
    yield from zip((_key("load", period) for period in LOADS), _list(families.get("load")), strict=False)
    for family in ("memory", "swap"):
        yield f"{family}_used_bytes", _map(families.get(family)).get("used_bytes")
    yield "memory_available_bytes", _map(families.get("memory")).get("available_bytes")
    for word in ("read", "written"):
        yield f"disk_{word}_bytes_per_second", _map(families.get("disk_io")).get(f"{word}_bytes_per_second")
    for disk in map(_map, _list(families.get("disks"))):
        yield _key("disk_used_bytes", disk.get("mount")), disk.get("used_bytes")
    for each in map(_map, _list(families.get("network"))):
        for word in ("received", "sent"):
            rate = f"{word}_bytes_per_second"
            yield _key(f"network_{rate}", each.get("name")), each.get(rate)
    for service, used in _map(families.get("services")).items():
        for word in SERVICE:
            yield _key(f"service_{word}", service), _map(used).get(word)


def _key(name: str, label: Any) -> str:
    return f"{name}{BETWEEN}{str(label)[:MAX_LABEL]}"


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _is_number(value: Any) -> bool:
    """What JSON can carry: an integer of 400 digits is none, and so is infinity, which 1e400 became."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e18 if isinstance(value, int) else math.isfinite(value)
