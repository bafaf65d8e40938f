"""Which paths a line of .gitignore names; git itself is asked in integration/test_packing.py."""

import pytest

from dployr.packing import ignore


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("*.log", "a/b.log", True),
        ("/a", "b/a", False),
        ("/a", "a", True),
        ("a/b", "x/a/b", False),
        ("a/**", "a/b/c", True),
        ("a/**/c", "a/c", True),
        ("**/c", "x/y/c", True),
        ("*", ".x", True),
        ("a?c", "a/c", False),
        ("[!a]b", "cb", True),
        ("[!a]b", "ab", False),
        ("*.log\n!keep.log", "keep.log", False),
        ("# a\n\n", "# a", False),
        ("\\#a", "#a", True),
        ("a ", "a", True),
        ("", ".git", True),
        ("*\n!*/\n!.*\n!.git\n", "a/.git", True),
        ("[\\d]x", "1x", False),
        ("[\\d]x", "dx", True),
        ("[\\]]x", "]x", True),
        ("[z-a]x\nb", "b", True),
        ("[z-a]x", "zx", True),
        ("[+--]x", ",x", True),
        ("[[:digit:]-]x", "1x", True),
        ("[[:digit:]-]x", ":x", False),
        ("[^[:upper:]]x", "Ax", False),
        ("[[:number:]]*", "1", False),
        ("[a-", "a-", False),
        ("a\\", "a\\", False),
        ("\ufeff*.log\r\nb", "a.log", True),
    ],
)
def test_a_pattern_fits_what_it_names(text, path, ignored):
    assert ignore.is_ignored(path, ignore.parse(text, ""), is_directory=False) is ignored


def test_a_pattern_of_directories_fits_no_file_and_one_of_below_nothing_beside():
    rules = ignore.parse("build/\n", "")
    assert ignore.is_ignored("a/build", rules, is_directory=True)
    assert not ignore.is_ignored("a/build", rules, is_directory=False)
    assert not ignore.Rule("a", rules[0].pattern, keeps=False, only_directories=False).fits("ab/c", is_directory=True)
