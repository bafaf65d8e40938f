"""Schedules of cron entries: what they mean, when they come next, and what cannot be meant."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedules import cron

UTC = datetime.UTC
DAY = 24 * 60


def at(text: str) -> int:
    """The minute of a time such as 2026-11-25 12:05."""
    return int(datetime.datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) // 60


def after(schedule: str, text: str) -> str:
    """When `schedule` comes next, from that time on."""
    found = cron.parse(schedule).next_from(at(text))
    return "never" if found is None else f"{datetime.datetime.fromtimestamp(found * 60, UTC):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("schedule", "now", "expected"),
    [
        ("* * * * *", "2026-11-25 12:03", "2026-11-25 12:03"),
        ("*/5 * * * *", "2026-11-25 12:03", "2026-11-25 12:05"),
        ("*/5 * * * *", "2026-12-31 23:58", "2027-01-01 00:00"),
        ("5-40/10,50 * * * *", "2026-11-25 12:36", "2026-11-25 12:50"),
        ("30 8 * * mon-fri", "2026-11-27 08:31", "2026-11-30 08:30"),
        ("0 0 * * SAT-SUN", "2026-11-23 00:00", "2026-11-28 00:00"),
        ("0 0 * * 7", "2026-11-25 00:00", "2026-11-29 00:00"),
        ("0 0 * * sun-sun", "2026-11-25 00:00", "2026-11-29 00:00"),
        ("0 0 * * 0-0", "2026-11-25 00:00", "2026-11-29 00:00"),
        ("0 12 29 feb *", "2026-11-25 00:00", "2028-02-29 12:00"),
        ("0 12 29 2 *", "2096-03-01 00:00", "2104-02-29 12:00"),
        ("0 0 31 * *", "2026-11-25 00:00", "2026-12-31 00:00"),
        ("@hourly", "2026-11-25 12:03", "2026-11-25 13:00"),
        ("@daily", "2026-11-25 12:03", "2026-11-26 00:00"),
        ("@weekly", "2026-11-25 12:03", "2026-11-29 00:00"),
        ("@monthly", "2026-11-25 12:03", "2026-12-01 00:00"),
        ("@yearly", "2026-11-25 12:03", "2027-01-01 00:00"),
        ("  0   4 *\t* * ", "2026-11-25 12:03", "2026-11-26 04:00"),
    ],
)
def test_a_schedule_comes_next_when_a_calendar_says(schedule: str, now: str, expected: str) -> None:
    assert after(schedule, now) == expected


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("0 0 13 * fri", "2026-11-27 00:00"),  # either: the next Friday
        ("0 0 26 * fri", "2026-11-26 00:00"),
        ("0 0 13 * *", "2026-12-13 00:00"),
        ("0 0 * * fri", "2026-11-27 00:00"),
        ("0 0 */2 * fri", "2026-11-27 00:00"),  # a star with a step is a star: both, and the 27th is one of them
        ("0 0 2-30/2 * fri", "2026-11-26 00:00"),
        ("0 0 13 * */6", "2026-12-13 00:00"),  # Saturdays and Sundays that are a 13th
        ("0 0 31 2 mon", "2027-02-01 00:00"),  # there is no 31 February, but there are its Mondays
    ],
)
def test_of_the_two_fields_for_days_either_will_do_unless_one_begins_with_a_star(schedule: str, expected: str) -> None:
    assert after(schedule, "2026-11-25 12:03") == expected


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("", "must be five fields"),
        ("* * * *", "must be five fields"),
        ("* * * * * *", "must be five fields"),
        ("@reboot", "must be five fields"),
        ("* " * 300, "must be five fields"),
        ("60 * * * *", "the minute: 60 is not 0 to 59"),
        ("* 24 * * *", "the hour: 24 is not 0 to 23"),
        ("* * 0 * *", "the day of the month: 0 is not 1 to 31"),
        ("* * * 13 *", "the month: 13 is not 1 to 12 or jan, feb"),
        ("* * * feb-jan *", "the month: feb-jan goes backwards"),
        ("* * * * 8", "the day of the week: 8 is not 0 to 7 or sun, mon"),
        ("* * * * mond", "the day of the week: cannot read 'mond'"),
        ("jan * * * *", "the minute: jan is not 0 to 59"),
        ("*/0 * * * *", "the minute: a step must be 1 to 59"),
        ("5/10 * * * *", "the minute: a step needs a range, such as 5-59/10 or */10"),
        ("1,,2 * * * *", "the minute: cannot read ''"),
        ("-1 * * * *", "the minute: cannot read '-1'"),
        ("٣ * * * *", "the minute: cannot read"),
        ("0 0 31 2 *", "never comes: no month that it names has a day 31"),
        ("0 0 30-31 feb *", "never comes: no month that it names has a day 30"),
        ("0 0 31 4,6,9,11 *", "never comes: no month that it names has a day 31"),
        ("0 0 31 2 */2", "never comes"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(schedule: str, words: str) -> None:
    with pytest.raises(cron.ScheduleError) as refused:
        cron.parse(schedule)
    assert str(refused.value).startswith(words)


def parts(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int], bool]]:
    """A field, the numbers that it means, and whether it begins with a star."""
    numbers = st.integers(low, high)
    steps = st.integers(1, high)
    ranges = st.tuples(numbers, numbers).map(sorted)
    part = st.one_of(
        st.just(("*", range(low, high + 1))),
        steps.map(lambda step: (f"*/{step}", range(low, high + 1, step))),
        numbers.map(lambda one: (str(one), range(one, one + 1))),
        ranges.map(lambda ends: (f"{ends[0]}-{ends[1]}", range(ends[0], ends[1] + 1))),
        st.tuples(ranges, steps).map(
            lambda it: (f"{it[0][0]}-{it[0][1]}/{it[1]}", range(it[0][0], it[0][1] + 1, it[1]))
        ),
    )
    return st.lists(part, min_size=1, max_size=3).map(
        lambda found: (
            ",".join(text for text, _ in found),
            frozenset(number for _, numbers in found for number in numbers),
            found[0][0].startswith("*"),
        )
    )


@given(
    st.tuples(parts(0, 59), parts(0, 23), parts(1, 31), parts(1, 12), parts(0, 7)),
    st.integers(at("2024-01-01 00:00"), at("2032-01-01 00:00")),
)
def test_the_next_minute_is_the_one_that_a_search_minute_by_minute_finds(fields, start: int) -> None:
    text = " ".join(field[0] for field in fields)
    (_, minutes, _), (_, hours, _), (_, days, any_day), (_, months, _), (_, weekdays, any_weekday) = fields

    def is_meant(minute: int) -> bool:
        time = datetime.datetime.fromtimestamp(minute * 60, UTC)
        of_month, of_week = time.day in days, bool({time.isoweekday(), time.isoweekday() % 7} & weekdays)
        day = (of_month and of_week) if any_day or any_weekday else (of_month or of_week)
        return day and time.minute in minutes and time.hour in hours and time.month in months

    try:
        schedule = cron.parse(text)
    except cron.ScheduleError as error:
        assert str(error).startswith("never comes")
        assert not any(map(is_meant, range(start, start + 4 * 366 * DAY, DAY // 2)))
        return
    found = schedule.next_from(start)
    assert found is not None
    searched = min(found, start + 3 * DAY)
    assert [minute for minute in range(start, searched) if is_meant(minute)] == []
    assert is_meant(found)
    assert [schedule.matches(minute) for minute in (found, start)] == [True, is_meant(start)]
