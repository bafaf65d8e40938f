"""The column types that mean the same on every database. Plain ones stay plain: SQLite's strict tables know five."""
# ruff: noqa: ARG002 — TypeDecorator calls with the dialect

import datetime
import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import engine


class Moment(sa.types.TypeDecorator[datetime.datetime]):
    """Aware UTC time as ISO text of fixed width, so that the order of the texts is the order of the times."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime.datetime | None, dialect: engine.Dialect) -> str | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("cannot store a time without its zone")
        return value.astimezone(datetime.UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: engine.Dialect) -> datetime.datetime | None:
        return None if value is None else datetime.datetime.fromisoformat(value)


class Json(sa.types.TypeDecorator[Any]):
    """A JSON document as text."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: engine.Dialect) -> str:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: engine.Dialect) -> Any:
        return None if value is None else json.loads(value)


class Flag(sa.types.TypeDecorator[bool]):
    """True and false as 1 and 0."""

    impl = sa.Integer
    cache_ok = True

    def process_bind_param(self, value: bool | None, dialect: engine.Dialect) -> int | None:
        return None if value is None else int(value)

    def process_result_value(self, value: int | None, dialect: engine.Dialect) -> bool | None:
        return None if value is None else bool(value)


def real() -> sa.types.TypeEngine[float]:
    """A double on both databases."""
    return sa.Double().with_variant(sa.REAL(), "sqlite")
