"""Views run on the loop: whoever blocks there holds up every other request, all followers and all agents."""

import ast
import pathlib

import pytest

from control_plane import api, dashboard

BLOCKING = frozenset({"concurrent", "queue", "requests", "socket", "sqlite3", "subprocess", "time", "urllib.request"})
CALLS = frozenset({"open", "input", ".read_text", ".read_bytes", ".write_text", ".write_bytes"})
FILES = [path for package in (api, dashboard) for path in pathlib.Path(package.__file__).parent.rglob("*.py")]


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def called(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield getattr(node.func, "id", "") or f".{getattr(node.func, 'attr', '')}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_view_can_block_the_loop(path):
    tree = ast.parse(path.read_text())
    assert BLOCKING.isdisjoint(imported(tree))
    assert CALLS.isdisjoint(called(tree))
