"""The manifest in a source: `dployr.yaml`, `.json` or `.toml`. Pure.

The same fields as a deployment has in the API, in its flat and in its nested forms. Whatever is wrong names the file, the
field and the next step.
"""

import dataclasses
import difflib
import functools
from collections.abc import Collection, Mapping
from typing import Any

from detection import fields, loading
from schedules import entries

NAMES = ("dployr.yaml", "dployr.yml", "dployr.json", "dployr.toml")
MAX_VALUES = 400  # all of them are reported


class ManifestError(Exception):
    """Its text is for the person who wrote the file."""


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """`values` are texts by field; of a field that holds keys, `env.KEY`. `ignored` are fields that say what is known already."""

    file: str = ""
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    def keys_of(self, field: str) -> dict[str, str]:
        """The part of `values` below `field`, by its own keys."""
        lead = f"{field}."
        return {name.removeprefix(lead): value for name, value in self.values.items() if name.startswith(lead)}


def parse(files: Mapping[str, str]) -> Manifest:
    """The manifest among `files`, an empty one when there is none. Raises ManifestError."""
    present = [name for name in NAMES if name in files]
    if not present:
        return Manifest()
    if len(present) > 1:
        raise ManifestError(f"cannot use {' and '.join(present)}: they are manifests both; delete all but one")
    (name,) = present
    try:
        document = loading.load(name, files[name])
    except loading.UnreadableError as error:
        raise ManifestError(f"cannot read {name}: {error}") from error
    return _Reader(name).read(document)


class _Reader:
    """One file as it is read; problems are collected, so that a person repairs them at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[str, str] = {}
        self._ignored: list[str] = []
        self._problems: list[str] = []

    def read(self, document: Mapping[str, Any]) -> Manifest:
        for field, value in document.items():
            self._take(str(field), value)
        self._problems += fields.check_problems(self._values)
        if len(self._values) > MAX_VALUES:
            self._problems.append(f"it has more than {MAX_VALUES} values")
        if self._problems:
            raise ManifestError(f"cannot use {self._name}: {'; '.join(self._problems)[:2000]}")
        return Manifest(self._name, self._values, tuple(self._ignored))

    def _take(self, field: str, value: Any) -> None:
        if field not in fields.KNOWN:
            self._problems.append(f"{_short(field)}: unknown field{_suggestion(field, fields.KNOWN)}")
        elif field in fields.PRIVATE:
            self._problems.append(
                f"{field}: does not belong in a source; delete it, and give it to the deployment itself"
            )
        elif field in fields.SETTLED:
            self._problems.append(
                f"{field}: is settled before the source is read; delete it, and give it to the deployment itself"
            )
        elif field in fields.FORMS and isinstance(value, Mapping):
            self._spread(field, value)
        elif field == fields.VOLUMES:
            self._take_volumes(value)
        elif field in fields.ENTRIES:
            self._take_entries(field, value)
        elif field in fields.PLAIN:
            self._put(field, field, fields.PLAIN[field], value)
        elif field in fields.ABOUT:
            self._ignored.append(field)
        else:
            self._below(fields.RENAMED.get(field, field), field, value)

    def _take_volumes(self, value: Any) -> None:
        try:
            found = fields.volumes(value)
        except ValueError as error:
            self._problems.append(f"{fields.VOLUMES}: {error}")
        else:
            self._values |= {f"{fields.VOLUMES}.{name}": mount for name, mount in found.items()}

    def _spread(self, field: str, nested: Mapping[str, Any]) -> None:
        form = fields.FORMS[field]
        for key, value in nested.items():
            written = f"{field}.{_short(str(key))}"
            if key not in form:
                self._problems.append(f"{written}: unknown field{_suggestion(str(key), form)}")
            elif form[key] in fields.ABOUT:
                self._ignored.append(written)
            else:
                self._put(form[key], written, fields.PLAIN[form[key]], value)

    def _below(self, field: str, written: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            self._problems.append(f"{written}: must be a mapping")
            return
        for key, one in value.items():
            name = _short(str(key))
            if isinstance(one, Mapping) and field in fields.KEY_FORMS:
                self._spread_key(fields.KEY_FORMS[field], str(key), f"{written}.{name}", one)
            elif field in fields.BY_KEY:
                self._put_key(field, str(key), f"{written}.{name}", one)
            else:
                self._nested(f"{field}.{key}", f"{written}.{name}", fields.NESTED.get(field, {}), str(key), one)

    def _take_entries(self, field: str, value: Any) -> None:
        if not isinstance(value, Mapping):
            self._problems.append(f"{field}: must be a mapping")
            return
        if len(value) > entries.MAX_ENTRIES:
            self._problems.append(f"{field}: must be at most {entries.MAX_ENTRIES}")
        for name, one in value.items():
            self._entry(field, str(name), f"{field}.{_short(str(name))}", one)

    def _entry(self, field: str, name: str, written: str, value: Any) -> None:
        try:
            fields.entry_name(name)
        except ValueError as error:
            self._problems.append(f"{written}: {error}")
            return
        if not isinstance(value, Mapping):
            self._problems.append(f"{written}: must be a mapping")
            return
        for key, one in value.items():
            place = f"{written}.{_short(str(key))}"
            self._nested(f"{field}.{name}.{key}", place, fields.ENTRIES[field], str(key), one)
        self._problems += [f"{written}.{key}: is required" for key in entries.REQUIRED if key not in value]

    def _nested(self, field: str, written: str, rules: Mapping[str, fields.Rule], key: str, value: Any) -> None:
        if key in rules:
            self._put(field, written, rules[key], value)
        else:
            self._problems.append(f"{written}: unknown field{_suggestion(key, rules)}")

    def _spread_key(self, form: Mapping[str, str], name: str, written: str, nested: Mapping[str, Any]) -> None:
        for key, value in nested.items():
            if key in form:
                self._put_key(form[key], name, f"{written}.{key}", value)
            else:
                self._problems.append(f"{written}.{_short(str(key))}: unknown field{_suggestion(str(key), form)}")

    def _put_key(self, field: str, key: str, written: str, value: Any) -> None:
        self._put(f"{field}.{key}", written, functools.partial(fields.BY_KEY[field], key), value)

    def _put(self, field: str, written: str, rule: fields.Rule, value: Any) -> None:
        if field in self._values:
            self._problems.append(f"{written}: is given twice; keep one of them")
            return
        try:
            self._values[field] = rule(value)
        except ValueError as error:
            self._problems.append(f"{written}: {error}")


def _short(name: str) -> str:
    return "".join(char for char in name[:64] if char.isprintable())


def _suggestion(field: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(field[:64], known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(sorted(known))}"
