"""A deployment's configuration as a JSON document. A field that an old document lacks has its default."""

import dataclasses
from typing import Any

from control_plane.domain import values


def document_of(config: values.Config) -> dict[str, Any]:
    return {**dataclasses.asdict(config), "env": dict(config.env)}


def config_of(document: dict[str, Any]) -> values.Config:
    given = {
        **document,
        "env": tuple(sorted(document["env"].items())),
        "health_check": values.HealthCheck(**document["health_check"]),
    }
    return values.Config(**given)
