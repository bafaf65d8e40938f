"""What checks of serving processes lead to: as values, and over an hour of a service whose every check fails."""

import dataclasses
import itertools

import pytest

from node_agent.model import health, spec
from node_agent.model.health import ASK_AGAIN_S, Health, Look

CHECK = spec.HealthCheck(kind="http", path="/health", interval_s=5.0, retries=3, start_period_s=60.0)
BAD = "GET /health answered 500"
WELL = Health(7, begun=0.0, well=(0.0, 100.0))


def looked(found: Health, *problems: str, at: float = 105.0, void: bool = False) -> Health:
    for number, problem in enumerate(problems):
        found = health.after(found, Look(at + number * CHECK.interval_s, problem, void), CHECK)
    return found


def due(**found: Health) -> str | None:
    return health.next_to_replace(found, CHECK, now=200.0)


def test_a_process_is_unhealthy_after_so_many_failures_in_a_row_and_the_words_say_so() -> None:
    assert looked(WELL, BAD, BAD).why == ""
    assert due(web=looked(WELL, BAD, BAD)) is None
    found = looked(WELL, BAD, BAD, BAD)
    assert found.why == "GET /health answered 500 three times"
    assert due(web=found) == "web"
    assert looked(WELL, *[BAD] * 12).why == "GET /health answered 500 12 times"


def test_one_good_answer_makes_failures_forgotten() -> None:
    assert due(web=looked(WELL, BAD, BAD, "", BAD, BAD)) is None
    assert looked(WELL, BAD, BAD, BAD, "").why == ""


def test_a_failure_while_the_looker_stood_still_does_not_count_and_a_good_answer_does() -> None:
    assert looked(WELL, *[BAD] * 9, void=True) == WELL
    assert looked(WELL, "", void=True).well == (0.0, 105.0)
    assert health.stood_still(10.0, 12.0, 0.5)
    assert not health.stood_still(10.0, 10.6, 0.5)


def test_a_process_that_just_started_has_its_start_period_until_its_first_good_answer() -> None:
    young = Health(7, begun=100.0)
    assert looked(young, BAD, BAD, BAD, BAD) == young
    assert looked(young, "", BAD, BAD, BAD).why
    assert looked(young, BAD, BAD, BAD, at=160.0).why


def test_another_life_is_suspected_until_it_answers() -> None:
    former = health.asked(looked(WELL, BAD, BAD, BAD), 120.0)
    found = health.next_life(former, 8, 121.0)
    assert (found.pid, found.why, found.failures, found.well_s) == (8, former.why, 0, 0.0)
    assert looked(found, "").why == ""


def test_how_long_it_was_well_is_from_its_first_to_its_last_good_answer() -> None:
    assert looked(Health(7, 100.0), "", "", BAD, "").well_s == 15.0
    assert Health(7, 100.0).well_s == 0.0


def test_no_other_process_is_replaced_before_the_last_one_answers() -> None:
    sick = looked(WELL, BAD, BAD, BAD)
    asked = health.asked(sick, 190.0)
    assert due(one=asked, two=sick) is None
    assert due(one=health.next_life(asked, 8, 195.0), two=sick) is None
    assert due(one=looked(health.next_life(asked, 8, 195.0), "", at=199.0), two=sick) == "two"


def test_a_process_that_does_not_even_start_again_holds_the_others_up_no_longer_than_its_time() -> None:
    sick, lost = looked(WELL, BAD, BAD, BAD), health.asked(looked(WELL, BAD, BAD, BAD), 200.0)
    found = {"one": health.next_life(lost, 9, 280.0), "two": sick}
    after_s = CHECK.start_period_s + ASK_AGAIN_S
    assert health.next_to_replace(found, CHECK, 199.0 + after_s) is None
    assert health.next_to_replace(found, CHECK, 201.0 + after_s) == "two"


def test_a_replacement_that_was_forgotten_is_asked_for_again() -> None:
    asked = health.asked(looked(WELL, BAD, BAD, BAD), 200.0)
    assert health.next_to_replace({"one": asked}, CHECK, 200.0 + ASK_AGAIN_S - 1) is None
    assert health.next_to_replace({"one": asked}, CHECK, 200.0 + ASK_AGAIN_S) == "one"


def test_an_interval_below_a_second_is_for_the_start_alone() -> None:
    assert health.interval_s(spec.HealthCheck()) == health.LIVE_INTERVAL_S
    assert health.interval_s(spec.HealthCheck(interval_s=1.0)) == 1.0
    assert health.interval_s(spec.HealthCheck(interval_s=60.0)) == 60.0


@pytest.mark.parametrize("processes", [1, 3])
def test_a_service_whose_every_check_fails_is_restarted_seldom_and_one_process_at_a_time(processes: int) -> None:
    """An hour without its database: each replaced process is back at once, and fails."""
    found = {f"web.{number}": dataclasses.replace(WELL, begun=-1000.0) for number in range(processes)}
    replaced: list[tuple[float, str]] = []
    now = 100.0
    while now < 3700.0:
        now += CHECK.interval_s
        found = {name: health.after(one, Look(now, BAD), CHECK) for name, one in found.items()}
        while (name := health.next_to_replace(found, CHECK, now)) is not None:
            replaced.append((now, name))
            found[name] = health.next_life(health.asked(found[name], now), int(now), now)
    times = [at for at, _ in replaced]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert 40 <= len(replaced) <= 60
    assert min(gaps) >= CHECK.start_period_s
    counts = [sum(name == one for _, one in replaced) for name in found]
    assert max(counts) - min(counts) <= 1
