"""Strategies as users write them: what is judged once is judged once."""

from collections.abc import Iterator, Mapping
from typing import Any

from control_plane.domain import strategy


class Counted(Mapping[str, Any]):
    """A declaration that counts how often all of it was gone through."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.walks = 0

    def __getitem__(self, key: str) -> Any:
        return self.given[key]

    def __iter__(self) -> Iterator[str]:
        self.walks += 1
        return iter(self.given)

    def __len__(self) -> int:
        return len(self.given)


def test_a_declaration_of_many_unknown_fields_is_not_gone_through_for_each_of_them():
    given = Counted({f"field-{number}": 1 for number in range(100)})
    assert len(strategy.problems(given)) == 100
    assert given.walks < 5
