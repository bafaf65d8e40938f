"""Directories as uploads: what goes along is what git would take, and hidden traps stay where they are."""

import hashlib
import io
import os
import subprocess
import tarfile

import pytest

from dployr import errors
from dployr.packing import archive
from tests.builder_fixtures import GIT_ENV, git

TREE = (
    *("a.log", "keep.log", "sub/b.log", "sub/keep.log", "build/x", "sub/build/x", "docs/build", "doc/a/b/c.txt"),
    *("doc/c.txt", "x/y/z", "a b", "#x", "!y", "foo.o", "foo.a", "lib/foo.a", "node_modules/p/index.js", ".env"),
    *("deep/.gitignored", "ab", "cb", "sub/deep/only.txt", "sub/deep/other.txt", "z.tmp", "sub/z.tmp", "tmp/keep/z"),
)
RULES = [
    "*.log\n!keep.log\n",
    "build/\n*.o\n/lib\n",
    "doc/**/c.txt\n**/z\n",
    "\\#x\n\\!y\na\\ b\n[!a]b\n",
    "tmp/*\n!tmp/keep/\nnode_modules\n.env\n",
    "/*\n!/sub\n/sub/*\n!/sub/deep\n",
    "x/**\ndeep/*\n*.a\n",
    "sub/**/only.txt\n*.tmp \n[",
    "[a-c]*\n!a?log\nfoo.[oa]\n**/build/**\n",
    "*\n!*/\n!.*\n!*.txt\n",
    "[z-a]*\n[\\a]b\n[\\d]*\n",
    "*[[:punct:]x-]?\n[+--a]*\n[[:none:]]*\n[[z]/*\nfoo\\",
]


def a_tree(place):
    for name in TREE:
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return place


def packed(place):
    out = io.BytesIO()
    archive.pack(place, out)
    return out.getvalue()


def names(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as found:
        return {member.name for member in found if not member.isdir()}


@pytest.mark.parametrize("rules", RULES)
def test_what_is_packed_is_what_git_would_take(tmp_path, rules):
    place = a_tree(tmp_path / "tree")
    (place / ".gitignore").write_text(rules)
    (place / "sub" / ".gitignore").write_text("/z.tmp\n!b.log\n")
    git(place, "init", "--quiet")
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard", "-z"],
        cwd=place,
        env=GIT_ENV,
        check=True,
        capture_output=True,
    )
    assert names(packed(place)) == set(listed.stdout.decode().split("\0")) - {""}


def test_the_own_file_has_the_last_word(tmp_path):
    place = a_tree(tmp_path / "tree")
    (place / ".gitignore").write_text("*.log\n")
    (place / ".dployrignore").write_text("!a.log\n/doc\n")
    found = names(packed(place))
    assert "a.log" in found and "keep.log" not in found and not any(name.startswith("doc/") for name in found)


def test_the_same_files_make_the_same_bytes_whenever_and_by_whom(tmp_path):
    first, second = a_tree(tmp_path / "one"), a_tree(tmp_path / "two")
    os.utime(second / "ab", (1, 1))
    (second / "cb").chmod(0o600)
    assert hashlib.sha256(packed(first)).digest() == hashlib.sha256(packed(second)).digest()


def test_links_stay_links_and_what_is_no_file_is_left_out_by_name(tmp_path):
    place = tmp_path / "tree"
    place.mkdir()
    (place / "run").write_text("x")
    (place / "run").chmod(0o755)
    (place / "link").symlink_to("run")
    (place / "loop").symlink_to(".")
    os.mkfifo(place / "pipe")
    out = io.BytesIO()
    assert archive.pack(place, out).skipped == ("pipe",)
    out.seek(0)
    with tarfile.open(fileobj=out) as found:
        kinds = {member.name: (member.type, member.mode, member.linkname, member.uid) for member in found}
    assert kinds["run"] == (tarfile.REGTYPE, 0o755, "", 0)
    assert kinds["link"][0] == kinds["loop"][0] == tarfile.SYMTYPE
    assert "loop/run" not in kinds


@pytest.mark.parametrize(("content", "words"), [(None, "is not a directory"), ("*\n", "nothing is in it")])
def test_what_cannot_be_packed_is_said(tmp_path, content, words):
    place = tmp_path / "tree"
    if content:
        place.mkdir()
        (place / ".gitignore").write_text(content)
    with pytest.raises(errors.DployrError, match=f"cannot pack .*{words}"):
        packed(place)
