"""What the other parts stand on. Imported by way of `values`."""

import dataclasses
import datetime
from typing import Any

Time = datetime.datetime


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """One page of a list; `next_cursor` is None on the last."""

    items: tuple[Any, ...]
    next_cursor: str | None
