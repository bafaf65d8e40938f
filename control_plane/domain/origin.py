"""Where each value of a configuration came from. Pure.

What was asked for is kept by name, because a value that is asked for may be the default too. Of a configuration from before
that was kept, a value that differs from the default was given.
"""

import functools
from typing import Literal

from control_plane.domain import declaration, values
from control_plane.domain.fields import DeploymentFields

Origin = Literal["given", "default"]
FIELDS = sorted(declaration.OF_CONFIG)


def of_config(config: values.Config) -> dict[str, Origin]:
    plain = _plain(config.runtime)
    return {name: "given" if _is_given(name, config, plain) else "default" for name in FIELDS}


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
