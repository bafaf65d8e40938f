"""The values of the domain lie in several files and are imported in one way."""

import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "control_plane/domain/values"
OF_A_PART = re.compile(r"^\s*(?:from|import) control_plane\.domain\.values\b", re.MULTILINE)


def test_the_parts_of_values_are_nobody_elses_business():
    found = [path for top in ("control_plane", "tests", "tools") for path in (ROOT / top).rglob("*.py")]
    assert [path for path in found if PACKAGE not in path.parents and OF_A_PART.search(path.read_text())] == []
