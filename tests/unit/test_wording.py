"""What is said about a bad field: our words for the kinds that happen, pydantic's for the rest, and no value that was sent."""

import datetime
import enum
import typing
from typing import Annotated, Any, Literal

import pydantic
import pytest
from pydantic_core import core_schema

from control_plane.api import schemas, wording


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Inner(pydantic.BaseModel):
    a: int = 0


WHOLE = "must be a whole number"
OBJECT = "must be an object"
TIME = "must be a time such as 2026-12-31T00:00:00Z"
# The type, what is sent, whether as in a body (strict), and what is said.
CASES: tuple[tuple[Any, Any, bool, str], ...] = (
    (str, 7, True, "must be a string"),
    (str, None, True, "must be a string, not null"),
    (Annotated[str, pydantic.Field(max_length=3)], "four", True, "must have at most 3 characters"),
    (Annotated[str, pydantic.Field(min_length=3)], "no", True, "must have at least 3 characters"),
    (Annotated[str, pydantic.Field(pattern="^[0-9]{1,9}$")], "x", True, "must match ^[0-9]{1,9}$"),
    (int, "7", True, WHOLE),
    (int, None, True, f"{WHOLE}, not null"),
    (int, "seven", False, WHOLE),
    (int, 1.5, False, WHOLE),
    (int, "9" * 5000, False, "is too large a number"),
    (float, "x", True, "must be a number"),
    (float, "x", False, "must be a number"),
    (Annotated[float, pydantic.Field(allow_inf_nan=False)], float("inf"), True, "must be a finite number"),
    (bool, "yes", True, "must be true or false"),
    (bool, "maybe", False, "must be true or false"),
    (list[str], {}, True, "must be a list"),
    (list[str], None, True, "must be a list, not null"),
    (Annotated[list[str], pydantic.Field(max_length=1)], ["a", "b"], True, "must have at most 1 items"),
    (Annotated[list[str], pydantic.Field(min_length=1)], [], True, "must have at least 1 items"),
    (dict[str, str], [], True, OBJECT),
    (Inner, [], True, OBJECT),
    (Annotated[int, pydantic.Field(gt=0)], 0, True, "must be more than 0"),
    (Annotated[int, pydantic.Field(ge=1)], 0, True, "must be at least 1"),
    (Annotated[int, pydantic.Field(lt=9)], 9, True, "must be less than 9"),
    (Annotated[int, pydantic.Field(le=9)], 10, True, "must be at most 9"),
    (datetime.datetime, "noon", False, TIME),
    (datetime.datetime, [], False, TIME),
)


def problems(kind, value, *, strict=True):
    model = pydantic.create_model(
        "Body", __config__=pydantic.ConfigDict(strict=strict, extra="forbid"), field=(kind, ...)
    )
    with pytest.raises(pydantic.ValidationError) as refused:
        model.model_validate({"field": value})
    return schemas.problems_of(refused.value)


@pytest.mark.parametrize(("kind", "value", "strict", "issue"), CASES)
def test_a_bad_value_is_told_in_our_words(kind, value, strict, issue):
    assert problems(kind, value, strict=strict) == [{"field": "field", "issue": issue}]


@pytest.mark.parametrize(
    ("kind", "supported"),
    [(Literal["now", "next"], ["now", "next"]), (Literal["", "a", "b"], ["a", "b"]), (Colour, ["red", "blue"])],
)
def test_a_choice_is_told_with_what_it_takes(kind, supported):
    issue = f"must be one of {', '.join(supported)}"
    assert problems(kind, "else", strict=False) == [{"field": "field", "issue": issue, "supported": supported}]


def test_a_field_that_is_missing_and_one_that_is_unknown_are_named():
    with pytest.raises(pydantic.ValidationError) as refused:
        schemas.LoginInput.model_validate({"email": "a@b.test", "pasword": "x"})
    assert schemas.problems_of(refused.value) == [
        {"field": "password", "issue": "is required"},
        {"field": "pasword", "issue": "unknown field"},
    ]


def test_a_body_that_is_no_object_is_told_of_the_body():
    with pytest.raises(pydantic.ValidationError) as refused:
        schemas.LoginInput.model_validate([])
    assert schemas.problems_of(refused.value) == [{"field": "body", "issue": OBJECT}]


def test_the_sentence_of_a_rule_of_ours_stands_alone():
    def check(_value):
        raise ValueError("must be {even}")

    assert problems(Annotated[str, pydantic.AfterValidator(check)], "x") == [
        {"field": "field", "issue": "must be {even}"}
    ]


def test_a_kind_without_words_of_ours_keeps_those_of_pydantic():
    found = {"type": "multiple_of", "msg": "Input should be a multiple of 2", "ctx": {"multiple_of": 2}, "input": None}
    assert wording.told(found) == {"issue": "Input should be a multiple of 2"}


def test_every_kind_in_the_table_is_one_of_pydantics():
    assert set(wording.WORDS) | wording.CHOICE <= set(typing.get_args(core_schema.ErrorType))
