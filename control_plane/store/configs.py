"""Configurations as JSON documents, what is secret in them sealed. A field that an old document lacks has its default.

The environment is sealed whole, keys and values: which variables exist says much about an application already.
"""

import dataclasses
import json
from typing import Any

from control_plane.domain import values
from control_plane.store.sealing import Keyring

HIDDEN = ("env", "git_token", "deploy_key")
PAIRS = ("processes", "process_replicas", "volumes", "labels", "placement")
SEALED = "sealed"


def document_of(config: values.Config, keys: Keyring, place: str) -> dict[str, Any]:
    """The document for the column at `place` (table|row|column)."""
    return sealed(dataclasses.asdict(config), HIDDEN, keys, place)


def config_of(document: dict[str, Any], keys: Keyring, place: str) -> values.Config:
    plain = opened(document, keys, place)
    typed = {
        "env": tuple(values.Variable(**one) for one in plain["env"]),
        "health_check": values.HealthCheck(**plain["health_check"]),
        "resources": values.Resources(**plain.get("resources", {})),
        "cron": tuple(values.CronEntry(**one) for one in plain.get("cron", ())),
        "strategy": _strategy(plain.get("strategy", {})),
    }
    pairs = {name: tuple((key, text) for key, text in plain.get(name, ())) for name in PAIRS}
    return values.Config(**{**plain, **typed, **pairs, "given": tuple(plain.get("given", ()))})


def sealed(document: dict[str, Any], hidden: tuple[str, ...], keys: Keyring, place: str) -> dict[str, Any]:
    """`document` with the fields `hidden` together under one seal."""
    secret = {name: document[name] for name in hidden if name in document}
    shown = {name: value for name, value in document.items() if name not in hidden}
    return {**shown, SEALED: keys.seal(json.dumps(secret), place)}


def opened(document: dict[str, Any], keys: Keyring, place: str) -> dict[str, Any]:
    """The reverse of `sealed`; a document from before there were seals is as it is."""
    if SEALED not in document:
        return document
    shown = {name: value for name, value in document.items() if name != SEALED}
    return {**shown, **json.loads(keys.open(document[SEALED], place))}


def _strategy(document: dict[str, Any]) -> values.Strategy:
    return values.Strategy(**{**document, "steps": tuple(document.get("steps", ()))})
