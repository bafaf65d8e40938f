"""Rules of the domain as bodies know them: by field, each for a value alone.

A body whose form is wrong never comes to the use case that would judge the rest of it. Its model asks these, so that the
client is told all faults together.
"""

from collections.abc import Callable, Mapping
from typing import Any

from control_plane import errors

Problem = dict[str, Any]
Rule = Callable[[Any], list[Problem]]
Rules = Mapping[str, Rule]


def raised(check: Callable[[Any], object]) -> Rule:
    """The rule that `check` keeps, which raises InvalidError."""

    def rule(value: Any) -> list[Problem]:
        with (faults := errors.Faults()).collecting():
            check(value)
        return faults.found

    return rule


def said(field: str, issue_of: Callable[[Any], str]) -> Rule:
    """The rule that `issue_of` keeps, which answers what is wrong, "" when nothing is."""

    def rule(value: Any) -> list[Problem]:
        issue = issue_of(value)
        return [{"field": field, "issue": issue}] if issue else []

    return rule


def found(rules: Rules, given: Mapping[str, Any]) -> list[Problem]:
    """What `rules` find in `given`. None is for the form to judge."""
    return [problem for name, rule in rules.items() if given.get(name) is not None for problem in rule(given[name])]
