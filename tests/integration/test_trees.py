"""Trees are deleted whoever closed them, and what they share with others stays as it is."""

import os
import pathlib
import subprocess
import sys

import pytest

DELETE = "import asyncio, pathlib, sys; from node_agent.builder import trees; asyncio.run(trees.delete(pathlib.Path(sys.argv[1])))"
BOUND = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()  # as no power of root helps


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_closed_tree_is_deleted_and_a_file_that_another_shares_is_as_it_was(
    tmp_path: pathlib.Path, mode: int
) -> None:
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    kept.write_text("x")
    kept.chmod(0o440)
    closed = tree / "a" / "b"
    closed.mkdir(parents=True)
    (closed / "file").hardlink_to(kept)
    for place in (closed, closed.parent, tree):
        place.chmod(mode)
    before = kept.stat()
    done = subprocess.run(
        [*BOUND, sys.executable, "-c", DELETE, str(tree)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, tree.exists()) == (0, False), done.stderr
    assert (kept.stat().st_mode, kept.stat().st_nlink) == (before.st_mode, 1)
