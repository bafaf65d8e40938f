"""Trees are deleted whoever closed them, and what they share with others stays as it is; toolchains lend nobody's rights."""

import os
import pathlib
import stat
import subprocess
import sys

import pytest

from node_agent.builder import trees

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


async def test_what_is_read_only_for_all_runs_with_the_rights_of_whoever_starts_it(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "toolchain"
    (place / "bin").mkdir(parents=True)
    modes = {"program": (0o6750, 0o555), "text": (0o640, 0o444), ".": (0o2700, 0o555)}
    for name, (mode, _) in modes.items():
        (place / "bin" / name).touch()
        (place / "bin" / name).chmod(mode)
    await trees.make_read_only(place)
    found = {name: stat.S_IMODE((place / "bin" / name).stat().st_mode) for name in modes}
    assert found == {name: mode for name, (_, mode) in modes.items()}
