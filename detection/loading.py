"""The text of a manifest as one mapping. YAML is read as text only, without anchors; keys are given once."""

import json
import tomllib
from collections.abc import Callable, Hashable
from typing import Any

import yaml

from detection import documents

MAX_TEXT = 64 << 10
Pairs = list[tuple[str, Any]]


class UnreadableError(Exception):
    """The file is no document of its kind; the words say where."""


def load(name: str, text: str) -> dict[str, Any]:
    """The mapping in the file `name`, by its ending. Raises UnreadableError."""
    if len(text) > MAX_TEXT:
        raise UnreadableError(f"it is longer than {MAX_TEXT >> 10} KiB")
    try:
        found = LOADERS[name.rpartition(".")[2]](text)
    except RecursionError:
        raise UnreadableError("it is nested too deep") from None
    except (ValueError, yaml.YAMLError) as error:
        raise UnreadableError(" ".join(str(error).split())[:300]) from None
    if not isinstance(found, dict):
        raise UnreadableError("it must be a mapping of fields")
    return found


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)


def _once(pairs: Pairs) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError(f"a key is given twice: {', '.join(sorted({key for key, _ in pairs}))[:200]}")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no value")


class _Loader(yaml.BaseLoader):
    """Every scalar is text; an alias is refused, so that a small file stays a small document."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "anchors and aliases are not used here", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: ARG002
        found = super().construct_mapping(node, deep=True)
        if len(found) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is given twice", node.start_mark)
        return found


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: TID251, S506 - on BaseLoader: text only


def _toml(text: str) -> Any:
    if not documents.is_tame_toml(text):
        raise ValueError(
            f"a line is longer than {documents.MAX_LINE} characters, or has more than {documents.MAX_DOTS} dots"
        )
    return tomllib.loads(text)


LOADERS: dict[str, Callable[[str], Any]] = {"yaml": _yaml, "yml": _yaml, "json": _json, "toml": _toml}
