"""No table grows without a rule: docs/reference/retention.md has one for each."""

import pathlib
import re

import control_plane
from control_plane.services import housekeeping
from control_plane.store import tables

PAGE = pathlib.Path(control_plane.__file__).parents[1] / "docs" / "reference" / "retention.md"


def rules():
    """Table → how long its rows stay."""
    found = {}
    for row in re.findall(r"^\| (`.*?) \| .*? \| (.*?) \|$", PAGE.read_text(), re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([a-z_]+)`", row[0]), row[1])
    return found


def test_every_table_has_its_rule_on_the_page_and_no_other_is_there():
    assert set(rules()) == set(tables.METADATA.tables)


def test_the_numbers_on_the_page_are_those_of_the_code():
    for table, number in (
        ("events", housekeeping.EVENTS_DAYS),
        ("deliveries", housekeeping.DELIVERIES_DAYS),
        ("tokens", housekeeping.ENDED_TOKENS_DAYS),
        ("releases", housekeeping.RELEASES),
        ("env_changes", housekeeping.ENV_CHANGES),
    ):
        assert re.search(rf"\b{number}\b", rules()[table]), table
