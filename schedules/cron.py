"""Schedules as cron has them: five fields (minute, hour, day of the month, month, day of the week), or a word for them. Pure.

Times are whole minutes since the epoch, UTC. A day counts when both of its fields allow it; where neither begins with a
star, either will do, as in every cron.
"""

import dataclasses
import datetime
import functools
import re
from collections.abc import Iterator, Mapping

WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
WEEKDAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
MAX_TEXT = 200
PART = re.compile(r"(?:\*|([0-9]{1,4}|[a-z]{3})(?:-([0-9]{1,4}|[a-z]{3}))?)(?:/([0-9]{1,4}))?")
EPOCH = datetime.date(1970, 1, 1).toordinal()
DAY = 24 * 60  # minutes
HORIZON = 41 * 366  # days: a 29 February falls on each day of the week within 40 years
FORM = f'must be five fields such as "*/5 * * * *", or one of {", ".join(WORDS)}'


class ScheduleError(ValueError):
    """Its text is for the person who wrote the schedule."""


@dataclasses.dataclass(frozen=True, slots=True)
class Schedule:
    """`either`: a day of the month or a day of the week will do."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def matches(self, minute: int) -> bool:
        day, within = divmod(minute, DAY)
        return within % 60 in self.minutes and within // 60 in self.hours and self._has(_date(day))

    def next_from(self, minute: int) -> int | None:
        """The first minute that matches, `minute` itself or a later one; None when there is none in our time."""
        first, within = divmod(minute, DAY)
        date, last = _date(first), _date(first + HORIZON)
        while date < last:
            if date.month not in self.months:
                date = _next_month(date)  # day by day the search for a 29 February would hold up who asks often
                continue
            if self._has(date):
                day = date.toordinal() - EPOCH
                found = next((at for at in self._times() if day > first or at >= within), None)
                if found is not None:
                    return day * DAY + found
            date += datetime.timedelta(1)
        return None

    def _has(self, date: datetime.date) -> bool:
        if date.month not in self.months:
            return False
        of_month, of_week = date.day in self.days, date.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either else of_month and of_week

    def _times(self) -> Iterator[int]:
        return (hour * 60 + minute for hour in sorted(self.hours) for minute in sorted(self.minutes))


@functools.lru_cache(maxsize=1024)
def parse(text: str) -> Schedule:
    """Raises ScheduleError; also for one that never comes."""
    fields = WORDS.get(text.strip().lower(), text).lower().split()
    if len(text) > MAX_TEXT or len(fields) != 5:
        raise ScheduleError(FORM)
    minute, hour, day, month, weekday = fields
    found = Schedule(
        _field("the minute", minute, 0, 59),
        _field("the hour", hour, 0, 23),
        _field("the day of the month", day, 1, 31),
        _field("the month", month, 1, 12, MONTHS),
        frozenset(number % 7 for number in _field("the day of the week", weekday, 0, 7, WEEKDAYS)),
        either=not day.startswith("*") and not weekday.startswith("*"),
    )
    if not found.either and min(found.days) > max(LONGEST_MONTH.get(number, 31) for number in found.months):
        raise ScheduleError(f"never comes: no month that it names has a day {min(found.days)}")
    return found


def _date(day: int) -> datetime.date:
    """`day` counts from the epoch."""
    return datetime.date.fromordinal(EPOCH + day)


def _next_month(date: datetime.date) -> datetime.date:
    return (date.replace(day=1) + datetime.timedelta(32)).replace(day=1)


def normal(text: str) -> str:
    """One spelling of the spaces."""
    return " ".join(text.split())


def _field(name: str, text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> frozenset[int]:
    return frozenset(number for part in text.split(",") for number in _part(name, part, low, high, names or {}))


def _part(name: str, text: str, low: int, high: int, names: Mapping[str, int]) -> range:
    match = PART.fullmatch(text)
    if match is None:
        raise ScheduleError(
            f"{name}: cannot read {text[:40]!r}; write a number, a range such as 1-5, or a step such as */5"
        )
    begin, end, step = match.groups()
    if begin and not end and step:
        raise ScheduleError(f"{name}: a step needs a range, such as {begin}-{high}/{step} or */{step}")
    first = _number(name, begin, low, high, names) if begin else low
    last = _number(name, end, low, high, names) if end else first if begin else high
    if names is WEEKDAYS and first > last == 0:
        last = 7  # Sunday ends a week as well
    if first > last:
        raise ScheduleError(f"{name}: {text} goes backwards")
    if step and not 1 <= int(step) <= high:
        raise ScheduleError(f"{name}: a step must be 1 to {high}")
    return range(first, last + 1, int(step or 1))


def _number(name: str, text: str, low: int, high: int, names: Mapping[str, int]) -> int:
    number = names.get(text, int(text) if text.isdigit() else -1)
    if not low <= number <= high:
        known = f" or {', '.join(names)}" if names else ""
        raise ScheduleError(f"{name}: {text} is not {low} to {high}{known}")
    return number
