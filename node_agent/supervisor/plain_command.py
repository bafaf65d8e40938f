"""Commands that need no shell: words without anything that a shell would act on. Pure, but for the look along PATH.

Running the program that the shell would run saves the shell's own start, which is most of a restart. Whatever is in
doubt is the shell's: what it cannot find, it says better than we could.
"""

import os
import re
import stat

PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./:@%+,-]*(?:[ \t]+[A-Za-z0-9_./:@%+,=-]+)*")
# Words that a POSIX shell does not look up along PATH when they come first.
THE_SHELLS = frozenset(
    [
        "!",
        ".",
        ":",
        "[",
        "alias",
        "bg",
        "break",
        "case",
        "cd",
        "chdir",
        "command",
        "continue",
        "do",
        "done",
        "echo",
        "elif",
        "else",
        "esac",
        "eval",
        "exec",
        "exit",
        "export",
        "false",
        "fc",
        "fg",
        "fi",
        "for",
        "function",
        "getopts",
        "hash",
        "if",
        "in",
        "jobs",
        "kill",
        "let",
        "local",
        "newgrp",
        "printf",
        "pwd",
        "read",
        "readonly",
        "return",
        "select",
        "set",
        "shift",
        "source",
        "test",
        "then",
        "time",
        "times",
        "trap",
        "true",
        "type",
        "typeset",
        "ulimit",
        "umask",
        "unalias",
        "unset",
        "until",
        "wait",
        "while",
    ]
)

Program = tuple[str, tuple[str, ...]]


def words(command: str) -> tuple[str, ...]:
    """The words of a plain command, `exec` in front left out; none when it is the shell's matter."""
    if not PLAIN.fullmatch(command.strip(" \t")):
        return ()
    found = tuple(command.split())
    if found[0] == "exec":
        found = found[1:]
        return found if found and PLAIN.fullmatch(found[0]) else ()
    return () if found[0] in THE_SHELLS else found


def resolve(command: str, path: str) -> Program | None:
    """The program that a shell with this PATH would run in the present directory, and its arguments."""
    found = words(command)
    if not found:
        return None
    places = [""] if "/" in found[0] else [f"{directory or '.'}/" for directory in path.split(":")]
    program = next((place + found[0] for place in places if _is_program(place + found[0])), None)
    return (program, found) if program else None


def _is_program(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK)  # noqa: PTH116 - once per start
    except OSError:
        return False
