"""The variables of a service: what a change makes of them, and which build a release with other variables may use. Pure.

A secret is write-only. A wish without a value keeps the stored one of a secret; nothing ever turns a stored secret into a
variable that can be read, unless its new value comes along.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from control_plane import errors
from control_plane.domain import grammar, release, values

Variables = tuple[values.Variable, ...]
Problem = dict[str, object]

REQUIRED = "is required; only a secret that is there already keeps its value without one"
# What decides how a release is built; the rest counts when it runs.
OF_THE_BUILD = (
    *("source", "remote", "branch", "commit", "runtime", "version"),
    *("build_cmd", "working_dir", "static_dir"),
)
UNBUILT = frozenset({release.State.PENDING, release.State.FETCHING, release.State.BUILDING})
WISHED_AWAY = frozenset({release.State.CANCELLED, release.State.SUPERSEDED})


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """A variable as asked for. `value` None keeps that of a secret; `secret` None is "as it is", False for a new one."""

    key: str
    value: str | None = dataclasses.field(repr=False)
    secret: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One line of a history: `action` is set or deleted."""

    key: str
    action: str
    secret: bool


def with_one(env: Variables, wanted: Wanted) -> Variables:
    """`env` with `wanted` in it. Raises InvalidError for the fields `key` and `value`."""
    new, problems = _resolved(find(env, wanted.key), wanted, lambda field: field)
    return _checked([*(one for one in env if one.key != wanted.key), new], problems, "value")


def replaced(env: Variables, wanted: Sequence[Wanted]) -> Variables:
    """Exactly what is `wanted`. Raises InvalidError for `variables.N.key` and `.value`, all problems together."""
    before = {one.key: one for one in env}
    found: list[values.Variable] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    for index, one in enumerate(wanted):
        new, wrong = _resolved(before.get(one.key), one, lambda field, at=index: f"variables.{at}.{field}")  # type: ignore[misc]
        problems += wrong
        if new.key in seen:
            problems.append({"field": f"variables.{index}.key", "issue": "given twice"})
        seen.add(new.key)
        found.append(new)
    return _checked(found, problems, "variables")


def without(env: Variables, key: str) -> Variables:
    return tuple(one for one in env if one.key != key)


def find(env: Variables, key: str) -> values.Variable | None:
    return next((one for one in env if one.key == key), None)


def changes(old: Variables, new: Variables) -> tuple[Change, ...]:
    """What differs, by key."""
    before, after = ({one.key: one for one in env} for env in (old, new))
    return tuple(
        Change(key, "set", after[key].secret) if key in after else Change(key, "deleted", before[key].secret)
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    )


def build_to_use(newest_first: Iterable[values.Release], config: values.Config) -> int:
    """The release whose build `config` can run on, 0 for none: then the next release builds.

    The code of the newest release counts, also when it failed (the variables may be why); one that somebody gave up does
    not. While a release is being built nothing is used again: it would go back behind the code that is on its way.
    """
    for one in newest_first:
        state = release.State(one.state)
        if state in UNBUILT or not _is_built_alike(one.config, config):
            return 0
        if state not in WISHED_AWAY:
            return one.number if one.commit or one.archive else 0
    return 0


def _is_built_alike(one: values.Config, other: values.Config) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in OF_THE_BUILD)


def _resolved(
    old: values.Variable | None, wanted: Wanted, name: Callable[[str], str]
) -> tuple[values.Variable, list[Problem]]:
    """The variable to store in place of `old`, and what is wrong with it; `name` makes the field's name."""
    was_secret = old is not None and old.secret
    secret = was_secret if wanted.secret is None else wanted.secret
    kept = old.value if old is not None and secret and wanted.value is None else wanted.value
    new = values.Variable(wanted.key, kept or "", secret)
    value_issue = REQUIRED if kept is None else grammar.env_value_issue(kept)
    issues = {"key": grammar.env_key_issue(wanted.key), "value": value_issue}
    return new, [{"field": name(field), "issue": issue} for field, issue in issues.items() if issue]


def _checked(found: Sequence[values.Variable], problems: list[Problem], whole: str) -> Variables:
    """The variables in order. Raises InvalidError: for `problems`, or for `whole` when they are too much together."""
    if not problems and grammar.env_size({one.key: one.value for one in found}) > grammar.MAX_ENV:
        problems = [{"field": whole, "issue": f"must be at most {grammar.MAX_ENV} bytes together"}]
    if problems:
        raise errors.InvalidError.several("cannot set the variables", problems)
    return tuple(sorted(found, key=lambda one: one.key))
