from control_plane.hub.refusals import MAX_AUDITED, WINDOW_S, Refusals
from tests import builders


def test_each_instance_has_its_own_number_and_a_new_one_after_a_while():
    clock = builders.StillClock()
    refusals = Refusals(clock)
    assert [refusals.take("ins_a") for _ in range(MAX_AUDITED + 2)] == [True] * MAX_AUDITED + [False] * 2
    assert refusals.take("ins_b")
    clock.advance(WINDOW_S)
    assert refusals.take("ins_a")
