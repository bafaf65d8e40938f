"""What a mutating view takes beside its body, declared beside the view.

Whoever enforces it reads the mark, and so does the contract; this module does nothing else.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, cast

View = TypeVar("View", bound=Callable[..., Any])

ATTRIBUTE = "dployr_mutation"


@dataclasses.dataclass(frozen=True, slots=True)
class Mutation:
    """`idempotent`: takes Idempotency-Key. `if_match`: takes If-Match. `dry_run`: takes `?dry_run=true`.

    `optional_body`: no body at all is the same as an empty object.
    """

    idempotent: bool = True
    if_match: bool = False
    dry_run: bool = False
    optional_body: bool = False


def mutation(
    *, idempotent: bool = True, if_match: bool = False, dry_run: bool = False, optional_body: bool = False
) -> Callable[[View], View]:
    """`@mutations.mutation(if_match=True)`, next to the permission."""

    def mark(view: View) -> View:
        setattr(view, ATTRIBUTE, Mutation(idempotent, if_match, dry_run, optional_body))
        return view

    return mark


def declared(view: Callable[..., Any] | None) -> Mutation | None:
    """What `view` declares; None when it declares nothing."""
    return cast("Mutation | None", getattr(view, ATTRIBUTE, None))
