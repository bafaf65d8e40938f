"""What .gitignore and .dployrignore leave out, by git's own rules: the last pattern that fits decides. Pure."""

import dataclasses
import re
from collections.abc import Iterable

from dployr.packing import brackets

FILES = (".gitignore", ".dployrignore")  # the later one has the last word
ALWAYS = frozenset({".git"})
NOTHING = "(?!)"  # fits no path


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One line of a file in the directory `base` ("" is the top)."""

    base: str
    pattern: re.Pattern[str]
    keeps: bool
    only_directories: bool

    def fits(self, path: str, *, is_directory: bool) -> bool:
        if self.only_directories and not is_directory:
            return False
        inner = path.removeprefix(f"{self.base}/") if self.base else path
        return self.pattern.fullmatch(inner) is not None


def parse(text: str, base: str) -> list[Rule]:
    """The rules of a file of patterns that lies in `base`."""
    return [rule for line in text.removeprefix("\ufeff").split("\n") if (rule := _rule(line, base)) is not None]


def is_ignored(path: str, rules: Iterable[Rule], *, is_directory: bool) -> bool:
    """Whether `path` is left out, its parents being in. `rules` are in the order in which they were read.

    No rule brings .git back, as little as with git: what opens the repository may be in it.
    """
    if path.rpartition("/")[2] in ALWAYS:
        return True
    ignored = False
    for rule in rules:
        if rule.keeps == ignored and rule.fits(path, is_directory=is_directory):
            ignored = not rule.keeps
    return ignored


def _rule(line: str, base: str) -> Rule | None:
    text = _without_trailing_spaces(line)
    if not text or text.startswith("#"):
        return None
    keeps = text.startswith("!")
    text = text.removeprefix("!") if keeps else text
    only_directories = text.endswith("/")
    text = text.rstrip("/") if only_directories else text
    if not text:
        return None
    anchored = "/" in text
    expression = _expression(text.removeprefix("/"))
    pattern = re.compile(expression if anchored else f"(?:.*/)?{expression}", re.DOTALL)
    return Rule(base, pattern, keeps, only_directories)


def _without_trailing_spaces(line: str) -> str:
    text = line.rstrip("\r")
    while text.endswith(" ") and not text.endswith("\\ "):
        text = text[:-1]
    return text


def _expression(text: str) -> str:
    """A pattern as a regular expression over paths."""
    parts, position = [], 0
    while position < len(text):
        taken, part = _step(text, position)
        parts.append(part)
        position += taken
    return "".join(parts)


def _step(text: str, at: int) -> tuple[int, str]:
    """How many characters the piece at `at` has, and what it means."""
    before, rest = text[:at], text[at:]
    if rest.startswith("**/") and (not before or before.endswith("/")):
        return 3, "(?:.*/)?"
    if rest == "**" and (not before or before.endswith("/")):
        return 2, ".+"
    if rest.startswith("/**/"):
        return 4, "/(?:.*/)?"
    if rest[0] == "*":
        return len(rest) - len(rest.lstrip("*")), "[^/]*"
    if rest[0] == "?":
        return 1, "[^/]"
    if rest[0] == "[":
        return brackets.read(rest) or (len(rest), NOTHING)
    if rest[0] == "\\":
        return 2, re.escape(rest[1]) if len(rest) > 1 else NOTHING
    return 1, re.escape(rest[0])
