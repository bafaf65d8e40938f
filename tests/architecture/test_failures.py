"""Every reason for which a release fails is in one table, and each has a test."""

import ast
import pathlib
from collections.abc import Iterator

import pytest

from node_agent.model.failures import FAILURES

ROOT = pathlib.Path(__file__).resolve().parents[2]
RAISES = "ReleaseFailedError"


def raised() -> Iterator[str]:
    """The first argument of every such error; of one that chooses between two, both."""
    for path in (ROOT / "node_agent").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == RAISES:
                first = call.args[0]
                for node in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                    assert isinstance(node, ast.Constant), f"{path}:{call.lineno}: not a word of the table"
                    yield str(node.value)


def test_what_the_host_may_say_is_the_table() -> None:
    assert set(raised()) == set(FAILURES)


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_each_reason_is_proven_by_a_test(code: str) -> None:
    written = (path for path in (ROOT / "tests").rglob("test_*.py") if path != pathlib.Path(__file__))
    assert any(f'"{code}"' in path.read_text(encoding="utf-8") for path in written), f"no test names {code}"


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_each_reason_says_what_it_means_and_what_to_do(code: str) -> None:
    failure = FAILURES[code]
    assert all(text.endswith(".") for text in (failure.means, failure.to_do)), failure
