"""What the program that hands a build over gives and takes, and what it refuses, with users that are not root."""

import contextlib
import mmap
import os
import pathlib
import stat
import subprocess
import sys

import pytest

from node_agent.supervisor.launch import HAND_OVER

BUILD, AGENT, GROUP, OTHER, READERS = 200001, 998, 200000, 200003, 265534

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def hand_over(verb: str, tree: pathlib.Path, *readers: int) -> tuple[int, str]:
    command = [sys.executable, "-I", "-S", str(HAND_OVER), verb, *map(str, (BUILD, AGENT, GROUP, *readers))]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout


def whose(path: pathlib.Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


@pytest.fixture
def tree(tmp_path: pathlib.Path) -> pathlib.Path:
    """As the agent made it."""
    top = tmp_path / "tree"
    (top / "a" / "b").mkdir(parents=True)
    (top / "a" / "b" / "file").write_text("x")
    for place in (top, top / "a", top / "a" / "b", top / "a" / "b" / "file"):
        os.chown(place, AGENT, AGENT)
    return top


def test_a_tree_is_the_builds_and_then_the_agents_for_the_group_to_read(tree: pathlib.Path) -> None:
    file = tree / "a" / "b" / "file"
    assert hand_over("open_build", tree) == (0, "")
    assert {whose(place)[:2] for place in (tree, tree / "a", file)} == {(BUILD, GROUP)}
    file.chmod(0o4700)
    assert hand_over("seal_release", tree) == (0, "")
    assert whose(tree) == (AGENT, GROUP, 0o750)
    assert whose(file) == (AGENT, GROUP, 0o750)


@pytest.mark.parametrize("verb", ["open_build", "seal_release"])
@pytest.mark.parametrize("owner", [0, OTHER])
def test_what_is_somebody_elses_stays_so(tree: pathlib.Path, verb: str, owner: int) -> None:
    for theirs in (tree / "a" / "b" / "theirs", tree / "a" / "place"):
        if theirs.name == "place":
            theirs.mkdir()
        else:
            theirs.write_text("secret")
        os.chown(theirs, owner, owner)
        before = whose(theirs)
        code, said = hand_over(verb, tree)
        assert (code, "neither the build's nor the agent's" in said) == (2, True)
        assert whose(theirs) == before
        if theirs.is_dir():
            theirs.rmdir()
        else:
            theirs.unlink()


@pytest.mark.parametrize("way", ["descriptor", "memory"])
def test_what_somebody_has_open_to_write_is_not_sealed(tree: pathlib.Path, way: str) -> None:
    """They could write into it for ever, and into every release that shares it."""
    file = tree / "a" / "b" / "file"
    assert hand_over("open_build", tree) == (0, "")
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(file.open("r+b"))
        if way == "memory":
            stack.enter_context(mmap.mmap(opened.fileno(), 0))
            opened.close()
        code, said = hand_over("seal_release", tree)
        assert (code, "./a/b/file is open to write" in said) == (2, True)
        assert os.listdir(tree) == ["a"]
    with file.open("rb"):
        assert hand_over("seal_release", tree) == (0, "")
    assert whose(file) == (AGENT, GROUP, 0o640)


def test_no_link_is_followed_to_what_it_leads_to(tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (tree / "a" / "link").symlink_to(outside)
    (tree / "a" / "name").symlink_to(outside / "file")
    assert hand_over("open_build", tree) == (0, "")
    assert hand_over("seal_release", tree) == (0, "")
    assert {whose(place)[:2] for place in (outside, outside / "file")} == {(0, 0)}


def test_a_site_is_for_another_group_too_which_passes_the_top_alone(tree: pathlib.Path) -> None:
    file = tree / "a" / "b" / "file"
    assert hand_over("open_build", tree) == (0, "")
    assert hand_over("seal_release", tree, READERS) == (0, "")
    assert whose(tree) == (AGENT, GROUP, 0o750)
    assert (whose(file.parent), whose(file)) == ((AGENT, GROUP, 0o755), (AGENT, GROUP, 0o644))
    for group, code in ((GROUP, 0), (READERS, 0), (OTHER, 1)):
        words = ["setpriv", f"--reuid={OTHER}", f"--regid={group}", "--clear-groups", "cat", "a/b/file"]
        assert subprocess.run(words, cwd=tree, capture_output=True, timeout=30, check=False).returncode == code, group


def test_on_a_file_system_without_lists_of_access_it_is_for_the_other_group_alone(
    tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    place = tmp_path / "plain"
    place.mkdir()
    words = [sys.executable, "-I", "-S", str(HAND_OVER), "seal_release", *map(str, (BUILD, AGENT, GROUP, READERS))]
    script = (
        'mount -t ramfs none "$0"; cp -a "$1" "$0/tree"; cd "$0/tree"; shift; "$@"; stat --format="%u %g %a" . a/b/file'
    )
    command = ["unshare", "--mount", "sh", "-ec", script, str(place), str(tree), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout.splitlines() == [f"{AGENT} {READERS} 750", f"{AGENT} {READERS} 640"], done.stderr


def test_a_second_name_of_what_was_sealed_for_the_group_is_taken_and_any_other_is_not(
    tree: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    assert hand_over("seal_release", tree) == (0, "")
    sealed, following = tree / "a" / "b" / "file", tmp_path / "following"
    following.mkdir()
    os.chown(following, AGENT, AGENT)
    (following / "file").hardlink_to(sealed)
    before = sealed.stat()
    assert hand_over("seal_release", following) == (0, "")
    assert sealed.stat() == before
    assert hand_over("open_build", following)[0] == 2

    for change in (lambda: os.chown(sealed, AGENT, OTHER), lambda: os.chown(sealed, OTHER, GROUP)):
        change()
        assert hand_over("seal_release", following)[0] == 2
