"""What is read from rows by the place of its columns."""

import dataclasses
import datetime

from control_plane.domain import values
from control_plane.store import services, tables
from tests import builders


def test_a_service_is_read_from_its_row_in_the_order_of_the_table():
    second, third = (builders.START + datetime.timedelta(seconds=number) for number in (1, 2))
    written = builders.a_service(
        request_id="req_1", updated_at=second, observed=dataclasses.replace(values.Observed(), reported_at=third)
    )
    row = services.row_of_service(written)
    numbers = {"restart": 2, "generation": 3, "acknowledged": 4}
    texts = {
        name: f"a {name}" for name, value in row.items() if isinstance(value, str) and name not in ("run", "observed")
    }
    row |= numbers | texts
    read = services.service_of(tuple(row[column.name] for column in tables.services.columns))
    assert {name: getattr(read, name) for name in numbers | texts} == numbers | texts
    assert services.row_of_service(read) == row
