"""A deployment's configuration as a JSON document. A field that an old document lacks has its default."""

import dataclasses
from typing import Any

from control_plane.domain import values


def document_of(config: values.Config) -> dict[str, Any]:
    return dataclasses.asdict(config)


def config_of(document: dict[str, Any]) -> values.Config:
    typed = {
        "env": tuple(values.Variable(**one) for one in document["env"]),
        "health_check": values.HealthCheck(**document["health_check"]),
        "resources": values.Resources(**document.get("resources", {})),
        "strategy": _strategy(document.get("strategy", {})),
    }
    pairs = {name: tuple((key, text) for key, text in document.get(name, ())) for name in PAIRS}
    return values.Config(**{**document, **typed, **pairs})


PAIRS = ("processes", "labels", "placement")


def _strategy(document: dict[str, Any]) -> values.Strategy:
    return values.Strategy(**{**document, "steps": tuple(document.get("steps", ()))})
