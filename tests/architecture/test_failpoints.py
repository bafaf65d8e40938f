"""Each step of the table of failpoints is one function, in the process that the table says."""

import ast
import pathlib

from failpoints import table

ROOT = pathlib.Path(__file__).resolve().parents[2]


def decorated():
    """Each use: the name, and whose code it is in."""
    for package in ("control_plane", "node_agent"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "failpoints.around":
                    yield node.args[0].value, owner(file.relative_to(ROOT))


def owner(file):
    if file.parts[0] == "control_plane":
        return table.CONTROL_PLANE
    return table.SUPERVISOR if file.parts[1] == "supervisor" else table.AGENT


def test_every_step_is_decorated_once_in_the_process_that_the_table_says():
    assert sorted(decorated()) == sorted((step.name, step.process) for step in table.STEPS)
