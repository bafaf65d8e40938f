"""Variables: what a change makes of them, and which build is used again."""

import pytest

from control_plane import errors
from control_plane.domain import values, variables
from control_plane.domain.variables import Wanted
from tests import builders

PLAIN = values.Variable("A", "1")
SECRET = values.Variable("S", "hidden", secret=True)
ENV = (PLAIN, SECRET)


def problems(caught):
    details = caught.value.details
    return [one["field"] for one in details.get("errors", [details])]


def test_a_new_variable_stands_in_its_place_and_can_be_read():
    assert variables.with_one(ENV, Wanted("B", "2")) == (PLAIN, values.Variable("B", "2"), SECRET)


def test_what_is_not_said_of_a_secret_stays():
    assert variables.with_one(ENV, Wanted("S", "new")) == (PLAIN, values.Variable("S", "new", secret=True))
    assert variables.with_one(ENV, Wanted("S", None)) == ENV
    assert variables.with_one(ENV, Wanted("S", None, secret=True)) == ENV


def test_a_variable_becomes_a_secret_with_the_value_that_it_has():
    assert variables.with_one(ENV, Wanted("A", None, secret=True))[0] == values.Variable("A", "1", secret=True)


def test_a_secret_is_readable_again_only_with_a_new_value():
    with pytest.raises(errors.InvalidError) as caught:
        variables.with_one(ENV, Wanted("S", None, secret=False))
    assert problems(caught) == ["value"]
    assert "hidden" not in repr(caught.value.details)
    assert variables.with_one(ENV, Wanted("S", "told", secret=False))[1] == values.Variable("S", "told")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (Wanted("A", None), "value"),
        (Wanted("NEW", None, secret=True), "value"),
        (Wanted("1A", "x"), "key"),
        (Wanted("", "x"), "key"),
        (Wanted("A=B", "x"), "key"),
        (Wanted("A" * 129, "x"), "key"),
        (Wanted("PATH", "x"), "key"),
        (Wanted("DPLOYR_TOKEN", "x"), "key"),
        (Wanted("A", "a\0b"), "value"),
        (Wanted("A", "x" * 40_000), "value"),
    ],
)
def test_what_cannot_be_set_names_its_field(wanted, field):
    with pytest.raises(errors.InvalidError) as caught:
        variables.with_one(ENV, wanted)
    assert problems(caught) == [field]


def test_all_problems_of_a_list_are_told_together():
    with pytest.raises(errors.InvalidError) as caught:
        variables.replaced(ENV, [Wanted("1", None), Wanted("B", "2"), Wanted("B", "3"), Wanted("PORT", "4")])
    assert problems(caught) == ["variables.0.key", "variables.0.value", "variables.2.key", "variables.3.key"]


def test_a_list_replaces_everything_and_keeps_the_secrets_that_it_names():
    assert variables.replaced(ENV, [Wanted("S", None, secret=True), Wanted("C", "3")]) == (
        values.Variable("C", "3"),
        SECRET,
    )
    assert variables.replaced(ENV, []) == ()


def test_too_much_together_is_refused():
    many = [Wanted(f"K{number}", "x" * 30_000) for number in range(5)]
    with pytest.raises(errors.InvalidError) as caught:
        variables.replaced((), many)
    assert problems(caught) == ["variables"]


def test_changes_are_told_by_key_without_values():
    new = (values.Variable("A", "2"), values.Variable("B", "3", secret=True))
    assert variables.changes(ENV, new) == (
        variables.Change("A", "set", secret=False),
        variables.Change("B", "set", secret=True),
        variables.Change("S", "deleted", secret=True),
    )
    assert variables.changes(ENV, ENV) == ()


def test_neither_wishes_nor_stored_values_are_printed():
    assert "hidden" not in repr(Wanted("S", "hidden")) + repr(ENV)


def a_release(number, state, **changes):
    return builders.a_release(number=number, state=state, commit=f"{number}" * 40, **changes)


LIVE = a_release(1, "live")
OTHER = builders.a_config(build_cmd="make")


@pytest.mark.parametrize(
    ("newest_first", "expected"),
    [
        ([LIVE], 1),
        ([a_release(2, "starting"), LIVE], 2),
        ([a_release(2, "failed"), LIVE], 2),
        ([builders.a_release(number=2, state="failed"), LIVE], 0),
        ([a_release(2, "building"), LIVE], 0),
        ([a_release(2, "cancelled"), LIVE], 1),
        ([a_release(3, "cancelled"), a_release(2, "superseded"), LIVE], 1),
        ([a_release(2, "cancelled", config=OTHER), LIVE], 0),
        ([builders.a_release(number=1, state="live", archive="a" * 64)], 1),
        ([], 0),
    ],
)
def test_the_newest_code_that_counts_is_used_again(newest_first, expected):
    config = builders.a_config(env=(), run_cmd="other", port=1)
    assert variables.build_to_use(newest_first, config) == expected


def test_what_is_built_differently_is_built():
    assert variables.build_to_use([LIVE], OTHER) == 0


def test_ten_thousand_variables_are_not_each_held_against_each():
    """They are looked at on the loop, while the writer waits."""
    compared = 0

    class Key(str):
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    keys = [Key(f"A{number}") for number in range(10_000)]
    before = tuple(values.Variable(key, "", secret=False) for key in keys)
    after = variables.replaced(before, tuple(variables.Wanted(key, "x") for key in keys))
    assert [one.value for one in after] == ["x"] * 10_000
    assert compared < 100 * len(keys)
