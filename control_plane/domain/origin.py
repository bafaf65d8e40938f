"""Where each value of a configuration came from. Pure.

What was asked for is kept by name, because a value that is asked for may be the default too. Of a configuration from before
that was kept, a value that differs from the default was given.
"""

import functools
from collections.abc import Iterable
from typing import Literal

from control_plane.domain import declaration, values
from control_plane.domain.fields import DeploymentFields

Origin = Literal["given", "file", "detected", "default"]
DECIDED: frozenset[Origin] = frozenset({"file", "detected"})
FIELDS = sorted(declaration.OF_CONFIG)


def of_config(config: values.Config, decided: Iterable[values.Decided] = ()) -> dict[str, Origin]:
    """`decided` is what the source said of the fields that nobody gave; a file's word is shown before what was seen."""
    plain = _plain(config.runtime)
    found: dict[str, Origin] = {name: "given" if _is_given(name, config, plain) else "default" for name in FIELDS}
    for row in sorted(decided, key=lambda row: row.origin, reverse=True):
        name, origin = row.field.partition(".")[0], _known(row.origin)
        if found.get(name) in {"default", "detected"} and origin is not None:
            found[name] = "file" if "file" in {origin, found[name]} else origin
    return found


def _known(word: str) -> Origin | None:
    return next((origin for origin in DECIDED if origin == word), None)


@functools.lru_cache(maxsize=64)
def _plain(runtime: str) -> values.Config:
    """What is declared by nothing but a runtime."""
    return declaration.config_of(DeploymentFields(name="", runtime=runtime))


def _is_given(name: str, config: values.Config, plain: values.Config) -> bool:
    if name in {"env", "secrets"}:
        return name in config.given or any(one.secret == (name == "secrets") for one in config.env)
    if name == "runtime":
        return bool(config.runtime)  # there is no default
    return name in config.given or getattr(config, name) != getattr(plain, name)
